"""Which node is brought back, and by which way. Pure."""

from __future__ import annotations

from typing import Literal

from tasks.model import Decision
from tasks.postgres.candidates import SyncRule, server_of, sync_setting
from tasks.postgres.decide import objection, unknown
from tasks.postgres.policies import RejoinPolicy
from tasks.postgres.state import Cluster, Node, RejoinPlan

Way = Literal["point", "start", "rewind", "clone"]


def decide_rejoin(seen: Cluster, policy: RejoinPolicy) -> Decision[RejoinPlan]:
    """Bring back one node that does not follow the primary, by the cheapest way that is right."""
    if why := objection(seen):
        return Decision.refuse(why)
    if seen.managed:
        return Decision.refuse("Patroni brings its members back itself: `patronictl reinit` the one that it does not.")
    if policy.node and policy.node not in {n.name for n in seen.nodes}:
        return Decision.refuse(unknown(policy.node, seen))
    if not seen.primaries:
        return Decision.refuse("Nobody takes writes, so there is nobody to follow: run postgres-failover first.")
    primary = max(seen.primaries, key=lambda n: server_of(n).timeline)
    if rival := rivals(seen, primary):
        return Decision.refuse(rival)
    if policy.node == primary.name:
        return Decision.refuse(f"{primary.name} is the primary: name the node that shall follow it.")
    astray = [n for n in seen.nodes if n.name != primary.name and not belongs(n, primary, seen.sync_standbys)]
    chosen = [n for n in astray if policy.node in ("", n.name)]
    if not chosen:
        return Decision.nothing(f"{policy.node or 'Every node'} follows {primary.name}.")
    return plan_rejoin(seen, policy, primary, chosen[0], later=[n.name for n in astray if n.name != chosen[0].name])


def rivals(seen: Cluster, primary: Node) -> str:
    """Say which nodes take writes on the same timeline, so that nobody can tell who is right; empty when none."""
    timeline = server_of(primary).timeline
    equal = [n.name for n in seen.primaries if server_of(n).timeline == timeline]
    if len(equal) == 1:
        return ""
    said = " and ".join(equal)
    return f"{said} take writes on the same timeline {timeline}: stop the wrong one by hand, then run again."


def follows(node: Node, primary: Node) -> bool:
    """Whether NODE streams from PRIMARY on its timeline."""
    server = node.server
    if server is None or not server.in_recovery or server.receiver is None:
        return False
    names = {s.name for s in server_of(primary).senders if s.state == "streaming"}
    return (
        server.receiver.status == "streaming" and server.timeline == server_of(primary).timeline and node.name in names
    )


def belongs(node: Node, primary: Node, sync_standbys: int) -> bool:
    """Whether NODE follows PRIMARY and commits wait for it where they are meant to wait for standbys."""
    waited_for = not sync_standbys or node.name in SyncRule(server_of(primary).synchronous_standby_names).names
    return follows(node, primary) and waited_for


def way_back(node: Node, primary: Node) -> Way:
    """Choose the cheapest way that cannot leave a diverged node in the cluster.

    A node on the primary's own timeline only needs to be pointed or started; one on an older timeline may hold what the
    primary never had, and only a rewind can tell; a directory that is gone needs a copy, and so does one that cannot
    apply what it receives: a rewind finds nothing wrong with it, for it looks at timelines only.
    """
    newest = server_of(primary).timeline
    if node.server and node.server.stuck:
        return "clone"
    if node.server and node.server.in_recovery and node.server.timeline == newest:
        return "point"
    host = node.host
    if host and host.directory == "missing":
        return "clone"
    if host and host.standby_signal and host.timeline == newest and not node.server:
        return "start"
    return "rewind"


def plan_rejoin(
    seen: Cluster, policy: RejoinPolicy, primary: Node, node: Node, later: list[str]
) -> Decision[RejoinPlan]:
    """Write down how NODE comes back, unless its host cannot be reached or it is coming back by itself."""
    if node.host is None or not node.host.reachable:
        why = node.host.problem if node.host else "no control is configured"
        return Decision.refuse(f"The host of {node.name} cannot be controlled ({why}): mend it, then run again.")
    if node.answer == "starting":
        return Decision.refuse(f"{node.name} is starting up ({node.problem}): wait until it answers, then run again.")
    way = way_back(node, primary)
    if way == "clone" and not policy.allow_clone:
        return Decision.refuse(f"{node.name} has no data directory and `allow_clone` is off.")
    server = server_of(primary)
    rest = f" After it, run again for {', '.join(later)}." if later else ""
    others = tuple(
        n.name for n in seen.nodes if n.name != primary.name and (n.name == node.name or follows(n, primary))
    )
    return Decision.go(
        RejoinPlan(
            resource=seen.resource,
            key=f"{server.system_identifier}/{server.timeline}/{node.name}",
            why=f"{node.name} does not follow {primary.name}; it is brought back by: {way}.{rest}",
            loss={
                "point": "Nothing.",
                "start": "Nothing.",
                "rewind": f"What only {node.name} holds; it is listed and kept beside its data directory.",
                "clone": f"What only {node.name} holds; if it has a data directory, that is kept beside the copy.",
            }[way],
            once=False,
            node=node.name,
            primary=primary.name,
            system_identifier=server.system_identifier,
            timeline=server.timeline,
            way=way,
            allow_clone=policy.allow_clone,
            sync_names=sync_setting(seen.sync_standbys, others),
            stream_seconds=policy.stream_seconds,
            copy_seconds=policy.copy_seconds,
        )
    )
