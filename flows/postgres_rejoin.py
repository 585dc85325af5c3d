"""PostgreSQL rejoin: bring an old primary, or a standby that fell off, back behind the primary.

**Meaning.** A node does not follow the primary. After a failover that is the old primary; it may hold rows that
nobody else has.

**Impact.** None for clients. Until it is back the cluster has one standby less.

**Diagnosis.** The plan says which node, and by which way: pointed, started, rewound or copied. The timeline says how
many commits only this node held, and where they are kept.

**Mitigation.** Run this, once for each node. A rewind that is impossible is followed by a copy of the primary, with the
old directory kept beside it; when there is no room for that, the run says how much is missing.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.postgres.act import bring_back, keep_discarded, ready_primary, retire, start_following
from tasks.postgres.decide_rejoin import decide_rejoin
from tasks.postgres.judge import judge_rejoin
from tasks.postgres.policies import RejoinPolicy
from tasks.postgres.probe import observe_cluster
from tasks.postgres.reach import reach


@flow(name="postgres-rejoin", flow_run_name="rejoin-{target}", description=__doc__, validate_parameters=False)
@concludes
def postgres_rejoin(
    target: str,
    policy: RejoinPolicy = RejoinPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Bring one node that does not follow back behind the primary.

    Args:
        target: Which cluster: the name of its block under Blocks, e.g. orders.
        policy: Which node, and whether the primary may be copied when a rewind is impossible.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_cluster(at, every_host=True)
    plan = approve(
        decide_rejoin(before, policy),
        policy,
        lambda: decide_rejoin(observe_cluster(at, every_host=True), policy),
    )

    retire(at, plan)
    ready_primary(at, plan)
    keep_discarded(at, plan)

    bring_back(at, plan)  # the point of no return
    start_following(at, plan)

    after = observe_cluster(at)
    return Report(plan=plan, evidence=judge_rejoin(plan, after))
