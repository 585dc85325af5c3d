"""Restore: put a database back as it was at a moment that you name, in the place of what is there.

**Meaning.** Rows were lost or spoilt, and repair cannot bring them back; or the directory of a database is damaged.

**Impact.** The database is away from the moment its servers are stopped until the WAL is replayed. Whatever was
committed after the target is gone from it; the old directory is kept beside the new one.

**Diagnosis.** Run it with `dry_run`: the plan says from which set, to where, and what that loses. A target that cannot
be reached is refused with the reason: before the oldest set, after the last WAL, in a hole, a point that was never set.

**Mitigation.** Run it and let somebody approve. Until clients are let in, everything is taken back when a step fails:
the old directory returns to its place. A set that turns out to be damaged is marked, and the next best one is taken.
Running this again goes on where a run that died has stopped. With `files_into` the files and the Redis of the set come
back too, into a folder from which you put them in place. Afterwards run postgres-rejoin for each standby.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.backups.decide_restore import decide_restore
from tasks.backups.judge import figures_of, judge_restored, sum_up, unlooked_restored
from tasks.backups.outcome_probe import observe_protected, observe_recovered
from tasks.backups.policies import RestorePolicy
from tasks.backups.probe import observe_target, settle_aim
from tasks.backups.reach import reach
from tasks.backups.restore_act import (
    admit,
    fetch_set,
    freeze,
    protect,
    put_in_place,
    recover,
    restore_files,
    salvage_wal,
    stop_nodes,
    stop_services,
)
from tasks.backups.tell import tell_recovery
from tasks.guard import approve
from tasks.model import Report


@flow(name="backup-restore", flow_run_name="restore-{target}", description=__doc__, validate_parameters=False)
@concludes
def backup_restore(
    target: str,
    policy: RestorePolicy = RestorePolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Put a cluster back as it was at a moment.

    Args:
        target: Which cluster: the name of its block, and of its backup repository, under Blocks, e.g. orders.
        policy: To which moment, on which node, and who approves.
        reason: What happened, in your words; kept in the report.
        requested_by: Your name. Somebody else must approve.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    plan = approve(
        decide_restore(observe_target(at, policy), policy),
        policy,
        lambda: decide_restore(observe_target(at, policy), policy),
    )

    freeze(at, plan)
    fetch_set(at, plan)  # before anybody is stopped: it takes longest
    stop_services(at, plan)
    stop_nodes(at, plan)
    salvage_wal(at, plan)
    plan = settle_aim(at, plan)
    put_in_place(at, plan)
    recover(at, plan)
    admit(at, plan)  # the point of no return
    restore_files(at, plan)

    after = observe_recovered(at, plan)
    protect(at, plan)
    kept = observe_protected(at, plan)
    tell_recovery(at, plan, after, judge_restored(plan, after, kept), kept)
    return Report(
        plan=plan,
        evidence=judge_restored(plan, after, kept),
        figures=figures_of(plan, after, kept),
        unverified=unlooked_restored(plan, after),
        why=sum_up(plan, after, figures_of(plan, after, kept)),
        look_at=at.databases,
    )
