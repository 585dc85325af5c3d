"""Whether to fail over, and how. Pure: one look at the cluster and a policy in, a decision out."""

from __future__ import annotations

from typing import Any, Literal

from tasks.model import Decision
from tasks.postgres.candidates import (
    astray_timelines,
    eligible,
    lost_bytes,
    newest_timeline,
    passed_over,
    provable_fences,
    server_of,
    settled,
    sync_setting,
    sync_vouches,
    why_not,
)
from tasks.postgres.policies import FailoverPolicy, Fence
from tasks.postgres.state import Cluster, FailoverPlan, Node, Route


def objection(seen: Cluster) -> str:
    """Say why nothing at all may be done to a cluster that looks like this; empty when nothing speaks against it."""
    if len(seen.nodes) < 2:  # noqa: PLR2004 - the smallest cluster
        return f"{seen.resource} has one node: add its standbys to the PostgresCluster block."
    if denied := [n for n in seen.nodes if n.answer == "denied"]:
        return f"{denied[0].name} does not let Salvor in ({denied[0].problem}): mend the block's user or password."
    if all(n.answer in ("refused", "silent") for n in seen.nodes):
        return (
            f"No node answers ({', '.join(n.name for n in seen.nodes)}): start one, or mend the network or the block."
        )
    if len(seen.managers) > 1:
        return f"{' and '.join(seen.managers)} both manage this cluster: pause all but one, then run again."
    if seen.managers and seen.managed is None:
        return f"{seen.managers[0]} manages this cluster and the block does not know it: give its address, or stop it."
    if len({server_of(n).system_identifier for n in seen.nodes if n.server}) > 1:
        return "The nodes have different system identifiers, so they are not one cluster: mend the block's addresses."
    if hidden := [n.name for n in seen.standbys if (r := server_of(n).receiver) and r.status == "hidden"]:
        return f"{hidden[0]} hides its WAL receiver from Salvor's role: GRANT pg_monitor to it."
    return ""


def unknown(name: str, seen: Cluster) -> str:
    """Say that the block has no node called NAME."""
    return f"The block has no node {name}: it has {', '.join(n.name for n in seen.nodes)}."


def split_brain(seen: Cluster) -> str:
    """Say which nodes take writes at the same time; empty when at most one does."""
    if len(seen.primaries) < 2:  # noqa: PLR2004 - two is the smallest conflict
        return ""
    said = " and ".join(f"{n.name} (timeline {server_of(n).timeline})" for n in seen.primaries)
    return f"{said} both take writes. Decide which one is right and stop the other by hand; nothing was changed."


def lost_primary(seen: Cluster) -> str:
    """Name the node that was primary: as recorded, as the standbys remember it, or the only one left."""
    timeline = newest_timeline(seen.nodes)
    if seen.recorded and seen.recorded.timeline >= timeline:
        return seen.recorded.node
    upstreams = {server_of(n).receiver.upstream for n in seen.standbys if server_of(n).receiver}  # type: ignore[union-attr]
    remembered = [n.name for n in seen.nodes if n.address in upstreams]
    others = [n.name for n in seen.nodes if not n.standby]
    return remembered[0] if len(remembered) == 1 else others[0] if len(others) == 1 else ""


def still_alive(seen: Cluster, old: Node) -> str:
    """Say why the primary that we cannot reach may still be serving; empty when it is gone as far as can be seen."""
    if streaming := [n.name for n in seen.standbys if (r := server_of(n).receiver) and r.streaming]:
        return (
            f"{', '.join(streaming)} still receives from {old.name}, so it lives and only we cannot reach it: "
            "mend the network or the route between here and there."
        )
    if old.answer == "starting":
        return f"{old.name} is starting up ({old.problem}): wait for it, or stop it if it must not come back."
    # The observer votes too: in a cluster of two, one standby and the observer are a majority of three. A host that
    # answers is not cut off from us, whatever became of its server.
    heard = [n for n in seen.nodes if n.standby or (n.host and n.host.reachable)]
    if 2 * (len(heard) + 1) <= len(seen.nodes) + 1:
        unseen = ", ".join(n.name for n in seen.nodes if n.answer != "answered")
        return f"Only a minority of the cluster can be seen ({unseen} do not answer): it may be us who are cut off."
    return ""


def decide_failover(seen: Cluster, policy: FailoverPolicy) -> Decision[FailoverPlan]:
    """Pick the most advanced standby of a cluster whose primary is gone, or say why nobody may be promoted."""
    if why := objection(seen):
        return Decision.refuse(why)
    if policy.candidate and policy.candidate not in {n.name for n in seen.nodes}:
        return Decision.refuse(unknown(policy.candidate, seen))
    if seen.managed:
        return decide_managed(seen, policy)
    if seen.primaries:
        return decide_with_primary(seen, policy)
    return decide_without_primary(seen, policy)


def decide_with_primary(seen: Cluster, policy: FailoverPolicy) -> Decision[FailoverPlan]:
    """Finish what a cut-off run began, or route clients to who takes writes; else there is nothing to do."""
    if seen.unfinished and (rest := rest_of(seen, seen.unfinished)):
        return Decision.go(rest)
    if why := split_brain(seen):
        return Decision.refuse(why)
    primary = seen.primaries[0]
    if astray(seen, primary):
        return Decision.go(routing_plan(seen, policy, primary, "unmanaged"))
    return Decision.nothing(f"{primary.name} takes writes and every pooler sends them there.")


def rest_of(seen: Cluster, plan: FailoverPlan) -> FailoverPlan | None:
    """Return what is left of PLAN when one of its standbys was promoted before the run was cut off."""
    standbys = (plan.candidate, *plan.siblings)
    new = [n.name for n in seen.primaries if n.name in standbys and server_of(n).timeline > plan.timeline]
    if len(new) != 1:
        return None
    # A standby cannot write: whoever came back as one needs no fence any more.
    fences = tuple((name, kind) for name, kind in plan.fences if not seen.node(name).standby)
    return settled(plan, {new[0]: 1}).model_copy(update={"fences": fences})


def astray(seen: Cluster, primary: Node) -> tuple[Route, ...]:
    """Return the routes that do not lead to PRIMARY; one that does not answer is not counted."""
    return tuple(r for r in seen.routes if not r.problem and not r.leads(primary.address))


def decide_without_primary(seen: Cluster, policy: FailoverPolicy) -> Decision[FailoverPlan]:
    """Nobody takes writes: find out who did, that it is gone, and who has the most of it."""
    name = lost_primary(seen)
    if name not in {n.name for n in seen.nodes}:
        return Decision.refuse("Nobody knows which node was the primary: start the sentinel, or promote by hand.")
    old = seen.node(name)
    if old.standby:
        return Decision.refuse(
            f"{old.name} was the primary and is a standby now: someone demoted it; look before acting."
        )
    if why := still_alive(seen, old) or astray_timelines(seen):
        return Decision.refuse(why)
    best = choose_candidate(seen, policy.candidate)
    if best is None:
        return Decision.refuse(f"No standby may be promoted: {why_not(seen)}.")
    vouched, lost = sync_vouches(seen, best), lost_bytes(seen, best)
    if not vouched and lost is not None and lost > policy.rpo_bytes:
        return Decision.refuse(
            f"{best.name} is {lost} bytes behind {old.name} and `rpo_bytes` allows {policy.rpo_bytes}: "
            "raise it only if losing that much is agreed."
        )
    return Decision.go(failover_plan(seen, policy, old, best))


def choose_candidate(seen: Cluster, preferred: str = "") -> Node | None:
    """Return the most advanced standby; PREFERRED wins a tie."""
    fit = eligible(seen)
    if not fit:
        return None
    top = [n for n in fit if server_of(n).lsn == server_of(fit[0]).lsn]
    return next((n for n in top if n.name == preferred), top[0])


def plan_for(seen: Cluster, policy: FailoverPolicy, best: Node, **rest: Any) -> FailoverPlan:  # noqa: ANN401 - fields of the plan
    """Write down everything the acts need, REST being what differs between the ways to a new primary."""
    server, vouched, lost = server_of(best), sync_vouches(seen, best), lost_bytes(seen, best)
    siblings = tuple(n.name for n in eligible(seen) if n.name != best.name)
    given = {
        "timeline": server.timeline,
        "loss": said_loss(vouched, lost),
        "sync_names": sync_setting(seen.sync_standbys, siblings),
        "lost_bytes": 0 if vouched else lost,
        "zero_loss": vouched,
        "fences": (),
    } | rest
    return FailoverPlan(
        resource=seen.resource,
        key=f"{server.system_identifier}/{given['timeline']}",
        system_identifier=server.system_identifier,
        candidate=best.name,
        siblings=siblings,
        rpo_bytes=policy.rpo_bytes,
        promote_seconds=policy.promote_seconds,
        follow_seconds=policy.follow_seconds,
        rto_seconds=policy.rto_seconds,
        **given,
    )


def failover_plan(seen: Cluster, policy: FailoverPolicy, old: Node, best: Node) -> FailoverPlan:
    """Promote BEST in place of OLD."""
    fences, unfenced = fencing(seen, policy, old, best)
    known = sync_vouches(seen, best) or lost_bytes(seen, best) is not None
    rank = f"the most advanced of {len(seen.standbys)} standbys"
    left = f" Left behind, for postgres-rejoin: {passed}." if (passed := passed_over(seen)) else ""
    return plan_for(
        seen,
        policy,
        best,
        why=f"{old.name} is gone ({old.answer}): {best.name} takes over, {rank}.{left}",
        ask=ask_why(unfenced, known=known, meant=bool(old.host and old.host.clean and not old.host.processes)),
        mode="unmanaged",
        old_primary=old.name,
        fences=fences,
    )


def routing_plan(
    seen: Cluster, policy: FailoverPolicy, primary: Node, mode: Literal["managed", "unmanaged"]
) -> FailoverPlan:
    """Somebody was promoted already: only lead clients and standbys to it."""
    stray = astray(seen, primary)
    addresses = {r.address for r in stray}
    old = next((n.name for n in seen.nodes if n.address in addresses and n.name != primary.name), "nobody")
    return plan_for(
        seen,
        policy,
        primary,
        why=f"{primary.name} takes writes, but {', '.join(r.name for r in stray)} sends clients elsewhere.",
        loss="Nothing: only routes change.",
        mode=mode,
        once=False,
        old_primary=old,
        # What is being left is the timeline before the one the primary is on.
        timeline=server_of(primary).timeline - 1,
    )


def fencing(
    seen: Cluster, policy: FailoverPolicy, old: Node, best: Node
) -> tuple[tuple[tuple[str, Fence], ...], list[str]]:
    """Return the fences to try for every node that might come back as primary, and the nodes that have none."""
    suspects = [old]
    unfinished = seen.unfinished
    # A candidate that died while it was promoted may come back as a primary of its own.
    if unfinished and unfinished.candidate not in (best.name, old.name):
        suspects += [n for n in seen.nodes if n.name == unfinished.candidate and not n.standby]
    found = {n.name: provable_fences(seen, n, policy.fences) for n in suspects}
    return tuple((name, kind) for name, kinds in found.items() for kind in kinds), [
        n for n, k in found.items() if not k
    ]


def said_loss(vouched: bool, lost: int | None) -> str:
    """Say in one sentence what will be lost."""
    if vouched:
        return "Nothing that was acknowledged: synchronous replication vouches for it."
    if lost is None:
        return "Unknown: no sentinel recorded the primary's position on this timeline."
    return f"At most {lost} bytes of WAL, and what was written after the last recorded position (about a second)."


def ask_why(unfenced: list[str], *, known: bool, meant: bool) -> str:
    """Say why a person has to agree; empty when nobody has to."""
    # A server that dies does not write a shutdown checkpoint: one that did was stopped by somebody, or restarts.
    reasons = [f"no fence can be proven for {name}; approve only if you know that it is off" for name in unfenced]
    reasons += [] if known else ["nobody knows how much the candidate is behind"]
    reasons += ["the primary was shut down in order, so somebody may have meant it"] if meant else []
    return "; ".join(reasons)


def decide_managed(seen: Cluster, policy: FailoverPolicy) -> Decision[FailoverPlan]:
    """Patroni owns the cluster: let it elect, then route. Nobody is promoted behind its back.

    Where it elects nobody, the run waits for it in vain and is refused, and names `patronictl failover`.
    """
    managed = seen.managed
    if managed is None or managed.problem:
        said = managed.problem if managed else "none is known"
        return Decision.refuse(f"Patroni does not answer ({said}): mend it first.")
    if managed.paused:
        return Decision.refuse("Patroni is paused, so it elects nobody: `patronictl resume`, then run again.")
    if why := split_brain(seen):
        return Decision.refuse(why)
    if seen.primaries:
        primary = seen.primaries[0]
        if astray(seen, primary):
            return Decision.go(routing_plan(seen, policy, primary, "managed"))
        return Decision.nothing(f"{primary.name} leads under Patroni and every pooler sends writes there.")
    best = choose_candidate(seen, policy.candidate)
    if best is None:
        return Decision.refuse(f"Patroni has no leader and no standby could become one: {why_not(seen)}.")
    why = f"Patroni has no running leader. It elects within about {managed.ttl_seconds} s, and only it may promote."
    return Decision.go(plan_for(seen, policy, best, why=why, mode="managed", old_primary=managed.leader or "nobody"))
