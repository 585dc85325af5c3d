"""Moving the primary of a cluster that Patroni manages: Patroni is asked, and nothing is done behind its back."""

from __future__ import annotations

from blocks.errors import Ambiguous, SalvorError, StandDown, Transient
from blocks.node_control import PatroniControl
from blocks.patroni import Patroni
from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan, Managed, MovePlan, SwitchoverPlan
from tasks.postgres.unmanaged import await_streaming, each, until

#: Seconds one answer of Patroni's REST API may take; it asks every member for /cluster.
PATIENCE = 3.0


def clients(at: Reach) -> list[Patroni]:
    """Return a client for every member that is under Patroni's control."""
    controls = (n.control for n in at.cluster.nodes)
    return [Patroni(str(c.url)) for c in controls if isinstance(c, PatroniControl)]


def observe_managed(at: Reach) -> Managed | None:
    """Return what Patroni says of the cluster; None where the block names no Patroni."""
    members = clients(at)
    if not members:
        return None
    answers = each(range(len(members)), lambda i: _cluster(members[i], at.cluster.probe_deadline_seconds * 4))
    return next((a for a in answers.values() if a), None) or Managed(
        leader="", members=(), streaming=(), paused=False, ttl_seconds=0, problem="no member's Patroni answers"
    )


def _cluster(client: Patroni, deadline: float) -> Managed | None:
    try:
        seen, ttl = client.cluster(deadline), client.ttl_seconds(deadline)
    except SalvorError:
        return None
    running = [m for m in seen.members if m.state in ("running", "streaming")]
    return Managed(
        leader=next((m.name for m in running if m.role in ("leader", "standby_leader")), ""),
        members=tuple(m.name for m in seen.members),
        streaming=tuple(m.name for m in seen.members if m.state == "streaming"),
        paused=seen.pause,
        ttl_seconds=ttl,
    )


def fence(_at: Reach, plan: FailoverPlan) -> str:
    """Leave fencing to the lease that Patroni's leader has to renew."""
    return f"Patroni's lease keeps {plan.old_primary} from writing; nothing is fenced behind its back"


def unfence(_at: Reach, _plan: FailoverPlan) -> str:
    """Nothing was fenced, so nothing is given back."""
    return "nothing was fenced"


def stop_receiving(_at: Reach, _plan: MovePlan) -> str:
    """Leave replication to Patroni."""
    return "Patroni decides who receives from whom"


def receive_again(_at: Reach, _plan: MovePlan) -> str:
    """Nothing was taken off, so nothing is put back."""
    return "nothing was taken off"


def settle(_at: Reach, plan: FailoverPlan) -> FailoverPlan:
    return plan


def promote(_at: Reach, plan: MovePlan) -> str:
    return ""


follow = demote = stop_primary = start_primary = promote
