"""PostgreSQL failover: promote a standby because the primary is gone.

**Meaning.** The primary takes no writes: it is dead, frozen, or cut off from its standbys too.

**Impact.** Every write fails. Reads go on from the standbys.

**Diagnosis.** The report of this run shows what each node said, who was chosen and why, and what that loses.

**Mitigation.** Run this. *Refused* says what speaks against it and what to mend. Raise `rpo_bytes` only if losing that
much is agreed. *NeedsHuman* means that it is not known whether somebody was promoted: look at the evidence, then run
this again; it looks first and goes on from where things stand. Afterwards run postgres-rejoin for the old primary.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.postgres.act import fence, follow, promote, route_writes, stop_receiving
from tasks.postgres.decide import decide_failover
from tasks.postgres.judge import figures_of, judge_failover, unlooked
from tasks.postgres.policies import FailoverPolicy
from tasks.postgres.probe import observe_activity, observe_cluster, settle_candidate
from tasks.postgres.reach import reach


@flow(name="postgres-failover", flow_run_name="failover-{target}", description=__doc__, validate_parameters=False)
@concludes
def postgres_failover(
    target: str,
    policy: FailoverPolicy = FailoverPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Promote the most advanced standby of a cluster whose primary is gone.

    Args:
        target: Which cluster: the name of its block under Blocks, e.g. orders.
        policy: What may be lost, what counts as a fence, who approves.
        reason: What happened, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint; one that is resolved in time starts nothing.
    """
    at = reach(target)

    before = observe_cluster(at)
    plan = approve(decide_failover(before, policy), policy, lambda: decide_failover(observe_cluster(at), policy))

    fence(at, plan)
    stop_receiving(at, plan)
    plan = settle_candidate(at, plan)

    promote(at, plan)  # the point of no return
    route_writes(at, plan)
    follow(at, plan)

    after = observe_cluster(at)
    activity = observe_activity(at, plan, before)
    return Report(
        plan=plan,
        evidence=judge_failover(plan, after, activity),
        figures=figures_of(plan, activity),
        unverified=unlooked(plan, after, activity),
        look_at=at.databases,
    )
