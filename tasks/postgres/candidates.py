"""Who may be promoted, what that loses, and which fence is provable. Pure."""

from __future__ import annotations

import re

from tasks.postgres.policies import Fence
from tasks.postgres.state import Cluster, FailoverPlan, Node, Server

#: `ANY 1 (a, b)`, `FIRST 2 (a, b)`, `2 (a, b)` and the plain list `a, b`: PostgreSQL documentation, 19.6.2.
SYNC_RULE = re.compile(
    r"^\s*(?:(?:ANY|FIRST)\s+)?(?:(?P<count>\d+)\s*)?(?P<open>\()?(?P<names>[^()]*)\)?\s*$", re.IGNORECASE
)


class SyncRule:
    """Which standbys must have a commit before it is acknowledged."""

    def __init__(self, text: str) -> None:
        """Read a value of synchronous_standby_names; what cannot be read promises nothing."""
        match = SYNC_RULE.match(text)
        names = match["names"] if match else ""
        self.names = frozenset(n.strip().strip('"') for n in names.split(",") if n.strip())
        self.count = int(match["count"] or 1) if match and self.names else 0
        # A wildcard lets standbys acknowledge that we have never heard of.
        if "*" in self.names:
            self.names, self.count = frozenset(), 0

    def vouches(self, heard: frozenset[str]) -> bool:
        """Whether every acknowledged commit is on at least one of HEARD: readers + writers > members."""
        return self.count > 0 and len(heard & self.names) + self.count > len(self.names)


def sync_setting(count: int, names: tuple[str, ...]) -> str:
    """Return the synchronous_standby_names that asks for COUNT of NAMES, or for fewer when there are fewer."""
    wanted = min(count, len(names))
    return f"ANY {wanted} ({', '.join(names)})" if wanted else ""


def newest_timeline(nodes: tuple[Node, ...]) -> int:
    """Return the highest timeline any answering node is on."""
    return max((n.server.timeline for n in nodes if n.server), default=0)


def eligible(seen: Cluster) -> tuple[Node, ...]:
    """Return the standbys that could take over, most advanced first; equals keep the order of the block."""
    timeline = newest_timeline(seen.nodes)
    fit = [
        (n, n.server)
        for n in seen.standbys
        if n.server and not n.nofailover and n.server.may_promote and n.server.timeline == timeline
    ]
    ranked = [n for n, s in sorted(fit, key=lambda pair: -pair[1].lsn)]
    # After a power cut all of them have just started, and none is to be blamed for that.
    return tuple(n for n in ranked if not overshoots(seen, n)) or tuple(ranked)


def overshoots(seen: Cluster, node: Node) -> bool:
    """Whether NODE is further than the primary was seen to be, and has not received that since it was started."""
    last, server = seen.recorded, server_of(node)
    if last is None or last.timeline != server.timeline:
        return False
    return server.received_lsn < server.lsn and server.lsn > last.lsn


def why_not(seen: Cluster) -> str:
    """Say of every node why it cannot be promoted."""
    return "; ".join(unfit(seen, n) for n in seen.nodes)


def passed_over(seen: Cluster) -> str:
    """Say of every standby that can neither be promoted nor led over why not; empty when there is none."""
    fit = {n.name for n in eligible(seen)}
    return "; ".join(unfit(seen, n) for n in seen.standbys if n.name not in fit)


def unfit(seen: Cluster, node: Node) -> str:
    """Say why NODE cannot be promoted."""
    if node.server is None:
        return f"{node.name} does not answer"
    if node.nofailover:
        return f"{node.name} is marked nofailover"
    if not node.server.may_promote:
        return f"{node.name} does not let this user call pg_promote"
    if overshoots(seen, node):
        return f"{node.name} is ahead of the primary without having followed it: it may have written by itself"
    return f"{node.name} is on timeline {node.server.timeline}, not {newest_timeline(seen.nodes)}"


def astray_timelines(seen: Cluster) -> str:
    """Say which standby was promoted on its own, when others are where the primary was last seen; else nothing."""
    last = seen.recorded
    ahead = [n.name for n in seen.standbys if last and server_of(n).timeline > last.timeline]
    behind = [n.name for n in seen.standbys if last and server_of(n).timeline == last.timeline]
    if last is None or not ahead or not behind:
        return ""
    return (
        f"{last.node} was last seen as primary on timeline {last.timeline}, where {', '.join(behind)} still is, but "
        f"{', '.join(ahead)} was promoted since. If that was a mistake, stop {', '.join(ahead)}; if it was meant, stop "
        f"{', '.join(behind)}. Then run this again."
    )


def server_of(node: Node) -> Server:
    """Return what NODE said; only for nodes that are known to have answered."""
    assert node.server is not None  # noqa: S101 - the callers hold the proof, this tells the type checker
    return node.server


def lost_bytes(seen: Cluster, candidate: Node) -> int | None:
    """Return how far CANDIDATE is behind the last recorded position of the primary, or None when nobody knows."""
    server = server_of(candidate)
    if seen.recorded is None or seen.recorded.timeline != server.timeline:
        return None
    return max(0, seen.recorded.lsn - server.lsn)


def sync_vouches(seen: Cluster, candidate: Node) -> bool:
    """Whether CANDIDATE provably has every acknowledged commit."""
    server = server_of(candidate)
    if seen.recorded is None or seen.recorded.timeline != server.timeline:
        return False
    peers = [n for n in seen.standbys if server_of(n).timeline == server.timeline]
    # A standby confirms what it has received. When that cannot be applied, it may be the only one that has it.
    if any(max(server_of(n).received_lsn, server_of(n).lsn) > server.lsn for n in peers):
        return False
    heard = frozenset(n.name for n in peers)
    return SyncRule(seen.recorded.synchronous_standby_names).vouches(heard)


def sync_fences(seen: Cluster) -> bool:
    """Whether a primary that lives on cannot acknowledge anything once the standbys of the plan have left it.

    Only those are taken off it: one that is passed over, nofailover for one, would go on confirming its commits.
    """
    if seen.recorded is None:
        return False
    rule = SyncRule(seen.recorded.synchronous_standby_names)
    staying = rule.names - {n.name for n in eligible(seen)}
    return rule.count > 0 and len(staying) < rule.count


def provable_fences(seen: Cluster, node: Node, allowed: tuple[Fence, ...]) -> tuple[Fence, ...]:
    """Return the fences that can be proven for NODE, in the order of trust that the policy gives."""
    proof: dict[Fence, bool] = {
        "process": node.host is not None and node.host.reachable,
        "power": node.can_power_off,
        "sync": sync_fences(seen),
        "route": seen.poolers_are_the_only_way_in and bool(seen.routes) and not any(r.problem for r in seen.routes),
    }
    return tuple(kind for kind in allowed if proof[kind])


def settled(plan: FailoverPlan, positions: dict[str, int]) -> FailoverPlan:
    """Return PLAN with the most advanced of POSITIONS as candidate, now that they stand still."""
    ahead = max(positions.values(), default=0)
    if not positions or positions.get(plan.candidate) == ahead:
        return plan
    best = next(name for name, position in positions.items() if position == ahead)
    siblings = tuple(plan.candidate if name == best else name for name in plan.siblings)
    wanted = SyncRule(plan.sync_names).count
    names = sync_setting(wanted, siblings)
    why = f"{plan.old_primary} is gone: {best} takes over, which had received more than {plan.candidate} in the end."
    return plan.model_copy(update={"candidate": best, "siblings": siblings, "sync_names": names, "why": why})
