"""Disaster: bring the service back when the database is lost, by the way that is soonest and loses least.

**Meaning.** Nobody takes writes: processes, directories, hosts or standbys are gone.

**Impact.** The service is down. How long, and what is lost, the plan says before anything is changed.

**Diagnosis.** The plan says of every node and of the repository what is dead, and which way it chose: start what is
only down; let postgres-failover promote a standby; or restore the newest set and all WAL there is, also what never
left the damaged directory.

**Mitigation.** Run this. It asks a person where something is lost or cannot be proven, and always with `approval`. The
report has three times: until writes, until verified, until it has a backup again. Damaged directories are kept. Until
clients are let in everything is taken back when a step fails. Running it again goes on where it stopped.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.backups.decide_disaster import decide_disaster
from tasks.backups.judge import figures_of, judge_restored, sum_up, unlooked_restored
from tasks.backups.outcome_probe import observe_protected, observe_recovered
from tasks.backups.policies import DisasterPolicy
from tasks.backups.probe import observe_target, settle_aim, settle_node
from tasks.backups.reach import reach
from tasks.backups.restore_act import (
    admit,
    bring_back_sets,
    fetch_set,
    freeze,
    protect,
    put_in_place,
    reconcile,
    recover,
    salvage_wal,
    stop_nodes,
    stop_services,
)
from tasks.backups.tell import tell_recovery
from tasks.guard import approve
from tasks.model import Report


@flow(name="disaster-recover", flow_run_name="disaster-{target}", description=__doc__, validate_parameters=False)
@concludes
def disaster_recover(
    target: str,
    policy: DisasterPolicy = DisasterPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Bring a cluster back that is lost.

    Args:
        target: Which cluster: the name of its block, and of its backup repository, under Blocks, e.g. orders.
        policy: By which way, to which moment, and who approves.
        reason: What happened, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    plan = approve(
        decide_disaster(observe_target(at, policy), policy),
        policy,
        lambda: decide_disaster(observe_target(at, policy), policy),
    )

    bring_back_sets(at, plan)
    freeze(at, plan)
    stop_services(at, plan)
    stop_nodes(at, plan)
    salvage_wal(at, plan)
    plan = settle_aim(at, plan)
    fetch_set(at, plan)
    put_in_place(at, plan)
    recover(at, plan)
    plan = settle_node(at, plan)
    admit(at, plan)  # the point of no return

    after = observe_recovered(at, plan)
    reconcile(at, plan, after)
    protect(at, plan)
    kept = observe_protected(at, plan)
    tell_recovery(at, plan, after, judge_restored(plan, after, kept), kept)
    return Report(
        plan=plan,
        evidence=judge_restored(plan, after, kept),
        figures=figures_of(plan, after, kept),
        unverified=unlooked_restored(plan, after, kept),
        why=sum_up(plan, after, figures_of(plan, after, kept)),
        look_at=at.databases,
    )
