"""What each procedure promised, held against what is seen afterwards. Pure."""

from __future__ import annotations

from tasks.model import Evidence
from tasks.postgres.candidates import server_of
from tasks.postgres.decide_rejoin import follows
from tasks.postgres.state import Activity, Cluster, FailoverPlan, MovePlan, Node, RejoinPlan, SwitchoverPlan


def judge_failover(plan: FailoverPlan, after: Cluster, activity: Activity) -> tuple[Evidence, ...]:
    """Say whether clients write to the candidate, nobody else takes writes, and what was lost."""
    return (*judge_move(plan, after), judge_loss(plan), *judge_activity(plan, activity))


def judge_switchover(plan: SwitchoverPlan, after: Cluster, activity: Activity) -> tuple[Evidence, ...]:
    """Say whether writes moved and the old primary follows."""
    return (*judge_handover(plan, after), *judge_activity(plan, activity))


def judge_handover(plan: SwitchoverPlan, after: Cluster) -> tuple[Evidence, ...]:
    """Say of a switchover what can be seen at any later time."""
    return (*judge_move(plan, after), judge_follower(plan.old_primary, plan.candidate, after))


def judge_rejoin(plan: RejoinPlan, after: Cluster) -> tuple[Evidence, ...]:
    """Say whether the node follows, and whether anything else changed."""
    primary = after.node(plan.primary)
    still = primary.primary and server_of(primary).timeline == plan.timeline
    return (
        judge_follower(plan.node, plan.primary, after),
        Evidence(
            claim=f"{plan.primary} is still the primary, on timeline {plan.timeline}",
            seen=said(primary),
            holds=still and len(after.primaries) == 1,
        ),
        judge_slot(plan.node, primary),
        judge_sync(plan.sync_names, primary),
    )


def judge_move(plan: MovePlan, after: Cluster) -> tuple[Evidence, ...]:
    """Judge what failover and switchover have in common."""
    new = after.node(plan.candidate)
    writing = ", ".join(n.name for n in after.primaries) or "nobody"
    shared = (
        Evidence(
            claim=f"{plan.candidate} takes writes on a new timeline",
            seen=said(new),
            holds=new.primary and server_of(new).timeline > plan.timeline,
        ),
        Evidence(claim="nobody else takes writes", seen=f"taking writes: {writing}", holds=len(after.primaries) == 1),
        *judge_routes(new, after),
        *(judge_follower(name, plan.candidate, after) for name in plan.siblings),
    )
    return shared if plan.mode == "managed" else (*shared, judge_sync(plan.sync_names, new))


def said(node: Node) -> str:
    """Put in words what a node said."""
    if node.server is None:
        return f"{node.name}: {node.answer} {node.problem}".strip()
    role = "standby" if node.server.in_recovery else "primary"
    return f"{node.name}: {role} on timeline {node.server.timeline}"


def judge_routes(new: Node, after: Cluster) -> tuple[Evidence, ...]:
    """Every pooler and environment file leads to the new primary, and nobody is held."""
    return tuple(
        Evidence(
            claim=f"{r.name} sends clients to {new.name}",
            seen=r.problem
            or f"{r.address}{' paused' * r.paused}{' disabled' * r.disabled}{' not restarted' * r.restart_owed}",
            holds=not r.problem and r.leads(new.address),
        )
        for r in after.routes
    )


def judge_follower(name: str, primary: str, after: Cluster) -> Evidence:
    """One node streams from the primary, as both ends say."""
    node, leader = after.node(name), after.node(primary)
    holds = leader.primary and follows(node, leader)
    receiver = node.server.receiver if node.server else None
    seen = f"{said(node)}, receiver {receiver.status} from {receiver.upstream}" if receiver else said(node)
    return Evidence(claim=f"{name} follows {primary}", seen=seen, holds=holds)


def judge_sync(names: str, primary: Node) -> Evidence:
    """Acknowledged commits are on as many standbys as was asked."""
    seen = primary.server.synchronous_standby_names if primary.server else said(primary)
    claim = f"commits wait for {names}" if names else "commits wait for no standby"
    return Evidence(claim=claim, seen=seen or "no synchronous standby", holds=seen == names)


def judge_slot(name: str, primary: Node) -> Evidence:
    """WAL is kept for a node that goes away for a while."""
    slots = primary.server.slots if primary.server else ()
    return Evidence(
        claim=f"{primary.name} keeps WAL for {name}", seen=f"slots: {', '.join(slots)}", holds=name in slots
    )


def judge_loss(plan: FailoverPlan) -> Evidence:
    """Hold what was lost against what was agreed (RPO)."""
    if plan.zero_loss:
        seen = "0 acknowledged commits: synchronous replication vouches for them"
    elif plan.lost_bytes is None:
        seen = "unknown; approved by a person"
    else:
        seen = f"{plan.lost_bytes} bytes behind the last recorded position"
    holds = plan.zero_loss or plan.lost_bytes is None or plan.lost_bytes <= plan.rpo_bytes
    return Evidence(claim=f"no more than {plan.rpo_bytes} bytes of WAL were lost", seen=seen, holds=holds)


def judge_activity(plan: MovePlan, activity: Activity) -> tuple[Evidence, ...]:
    """Hold how long the application's own rows stopped against what was agreed (RTO)."""
    if not activity.asked:
        return ()
    seen = activity.problem or (
        f"its rows stopped for {activity.longest_gap_seconds:.2f} s" if activity.again else "no row since the move"
    )
    holds = activity.again and not activity.problem and activity.longest_gap_seconds <= plan.rto_seconds
    return (Evidence(claim=f"the application wrote again within {plan.rto_seconds:g} s", seen=seen, holds=holds),)


def figures_of(plan: MovePlan, activity: Activity) -> dict[str, float]:
    """Return what was measured, for the report and for the history of drills."""
    lost = plan.lost_bytes if isinstance(plan, FailoverPlan) else 0
    measured = {"rpo_bytes": float(lost)} if lost is not None else {}
    return measured | ({"rto_seconds": activity.longest_gap_seconds} if activity.again else {})


def unlooked(plan: MovePlan, after: Cluster, activity: Activity) -> tuple[str, ...]:
    """Say what is left to do, and what was not looked at, so that nobody takes silence for proof."""
    gone = [n.name for n in after.nodes if n.name == plan.old_primary and not n.standby]
    left = [f"{name} does not follow yet: run postgres-rejoin for it, once its host can be reached." for name in gone]
    rows = () if activity.asked else ("How long the application could not write: the block has no activity_sql.",)
    new = after.node(plan.candidate)
    logical = new.server.logical_slots if new.server else ()
    return (
        *left,
        *rows,
        "Sessions that set synchronous_commit to off or local: what they were told was committed may be gone.",
        "Clients that do not go through the listed poolers and environment files.",
        f"Logical replication slots on the new primary ({', '.join(logical) or 'none'}) and their subscribers.",
    )
