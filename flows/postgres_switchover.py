"""PostgreSQL switchover: hand writes over to a standby, on purpose and without losing a row.

**Meaning.** The primary shall move: maintenance of its host, a minor upgrade, a rehearsal.

**Impact.** Through PgBouncer clients wait for less than a second and see no error. Clients that connect directly
see their connection end.

**Diagnosis.** The report shows who handed over to whom, how long each step took, and that every standby follows.

**Mitigation.** Until the promotion every failure and every time-out gives everything back to the old primary by itself.
*Refused* says what to mend. After the promotion there is only forward: run postgres-failover to finish the routes,
postgres-rejoin to bring the old primary back.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.postgres.act import (
    checkpoint,
    demote,
    follow,
    pause_clients,
    promote,
    resume_clients,
    route_writes,
    stop_primary,
)
from tasks.postgres.decide_switchover import decide_switchover
from tasks.postgres.judge import figures_of, judge_switchover, unlooked
from tasks.postgres.policies import SwitchoverPolicy
from tasks.postgres.probe import observe_activity, observe_cluster
from tasks.postgres.reach import reach


@flow(name="postgres-switchover", flow_run_name="switchover-{target}", description=__doc__, validate_parameters=False)
@concludes
def postgres_switchover(
    target: str,
    policy: SwitchoverPolicy = SwitchoverPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Move the primary to a standby with no lost row and, through PgBouncer, no client error.

    Args:
        target: Which cluster: the name of its block under Blocks, e.g. orders.
        policy: Who takes over, and how long clients may be held before everything is given back.
        reason: Why it is moved, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_cluster(at)
    plan = approve(decide_switchover(before, policy), policy, lambda: decide_switchover(observe_cluster(at), policy))

    checkpoint(at, plan)
    pause_clients(at, plan)
    stop_primary(at, plan)

    promote(at, plan)  # the point of no return
    route_writes(at, plan)
    resume_clients(at, plan)
    follow(at, plan)
    demote(at, plan)

    after = observe_cluster(at)
    activity = observe_activity(at, plan, before)
    return Report(
        plan=plan,
        evidence=judge_switchover(plan, after, activity),
        figures=figures_of(plan, activity),
        unverified=unlooked(plan, after, activity),
        look_at=at.databases,
    )
