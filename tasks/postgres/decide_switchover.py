"""Whether a planned switchover may begin, and who takes over. Pure."""

from __future__ import annotations

from tasks.model import Decision
from tasks.postgres.candidates import eligible, server_of, sync_setting, why_not
from tasks.postgres.decide import objection, split_brain, unknown
from tasks.postgres.judge import judge_handover
from tasks.postgres.policies import SwitchoverPolicy
from tasks.postgres.state import Cluster, Node, SwitchoverPlan


def decide_switchover(seen: Cluster, policy: SwitchoverPolicy) -> Decision[SwitchoverPlan]:
    """Hand writes over to a healthy standby without losing a row, or say why not now."""
    decision = decide_move(seen, policy)
    held = [r.name for r in seen.routes if r.paused]
    if decision.verdict != "refuse" or not held:
        return decision
    # By a run that died, or by a person: this one may not touch them any more.
    return Decision.refuse(f"{decision.why} Clients are held at {', '.join(held)}: postgres-failover lets them go on.")


def decide_move(seen: Cluster, policy: SwitchoverPolicy) -> Decision[SwitchoverPlan]:
    """Decide without regard to clients that are held already."""
    if (begun := seen.unfinished_switchover) and half_way(seen, begun):
        return Decision.go(begun)
    if why := objection(seen) or split_brain(seen):
        return Decision.refuse(why)
    if seen.managed and seen.managed.paused:
        return Decision.refuse("Patroni is paused: `patronictl resume`, then run again.")
    if not seen.primaries:
        return Decision.refuse("Nobody takes writes, so there is nothing to hand over: run postgres-failover.")
    if policy.candidate and policy.candidate not in {n.name for n in seen.nodes}:
        return Decision.refuse(unknown(policy.candidate, seen))
    primary = seen.primaries[0]
    if policy.candidate == primary.name:
        return Decision.nothing(f"{primary.name} takes writes already.")
    best = successor(seen, primary, policy.candidate)
    if best is None:
        wanted = f"{policy.candidate} cannot take over" if policy.candidate else "No standby can take over"
        return Decision.refuse(f"{wanted}: {why_not(seen)}.")
    if why := unfit(seen, primary, best, policy):
        return Decision.refuse(why)
    return Decision.go(switchover_plan(seen, policy, primary, best))


def half_way(seen: Cluster, begun: SwitchoverPlan) -> bool:
    """Whether a switchover stopped after the old primary had; every act of it finds its work done or does it."""
    new, old = seen.node(begun.candidate), seen.node(begun.old_primary)
    if new.primary:
        # One that ended is over when all of it holds: this run was asked for the next one.
        over = "postgres-switchover" not in seen.under_way and all(e.holds for e in judge_handover(begun, seen))
        return server_of(new).timeline > begun.timeline and not old.primary and not over
    stopped = old.host is not None and old.host.clean and not old.host.processes
    return new.standby and stopped and not seen.primaries


def successor(seen: Cluster, primary: Node, wanted: str) -> Node | None:
    """Return the wanted standby, or the one the primary knows to be least behind.

    Patroni refuses to hand over to a standby that does not confirm commits while another does.
    """
    lag = {s.name: s.lag_bytes for s in server_of(primary).senders}
    confirming = {s.name for s in server_of(primary).senders if s.sync in ("sync", "quorum")}
    fit = [n for n in eligible(seen) if wanted in ("", n.name)]
    return min(
        fit, key=lambda n: (bool(seen.managed) and n.name not in confirming, lag.get(n.name, 1 << 62)), default=None
    )


def unfit(seen: Cluster, primary: Node, best: Node, policy: SwitchoverPolicy) -> str:
    """Say what must be mended before BEST can take over from PRIMARY; empty when nothing."""
    sender = next((s for s in server_of(primary).senders if s.name == best.name), None)
    if sender is None or sender.state != "streaming":
        return f"{best.name} does not stream from {primary.name}: run postgres-rejoin for it first."
    if sender.lag_bytes > policy.lag_bytes:
        return f"{best.name} is {sender.lag_bytes} bytes behind and `lag_bytes` allows {policy.lag_bytes}: wait for it."
    if server_of(best).replay_paused:
        return f"Replay is paused on {best.name}: SELECT pg_wal_resume() there, then run again."
    if server_of(primary).prepared_transactions:
        return f"{primary.name} has prepared transactions, which hold locks across the move: commit or roll them back."
    if dumb := [r for r in seen.routes if r.problem]:
        return f"{dumb[0].name} does not answer ({dumb[0].problem}), so clients could not be led over: mend it first."
    wrong = [r for r in seen.routes if r.address != primary.address]
    if wrong:
        return f"{wrong[0].name} sends clients to {wrong[0].address}, not to {primary.name}: run postgres-failover."
    if owed := [r for r in seen.routes if r.restart_owed]:
        return f"{owed[0].name} leads to {primary.name}, but its application was not restarted: run postgres-failover."
    if not seen.managed and (primary.host is None or not primary.host.reachable):
        return f"The host of {primary.name} cannot be controlled, so it could not be stopped: mend the block's control."
    return ""


def switchover_plan(seen: Cluster, policy: SwitchoverPolicy, primary: Node, best: Node) -> SwitchoverPlan:
    """Write down who hands over to whom."""
    server = server_of(primary)
    siblings = tuple(n.name for n in eligible(seen) if n.name != best.name)
    held = f"clients are held by {', '.join(r.name for r in seen.routes)}" if seen.routes else "clients see errors"
    return SwitchoverPlan(
        resource=seen.resource,
        key=f"{server.system_identifier}/{server.timeline}",
        why=f"{primary.name} hands over to {best.name}, which streams from it.",
        loss=f"Nothing; {held} while it lasts.",
        mode="managed" if seen.managed else "unmanaged",
        system_identifier=server.system_identifier,
        timeline=server.timeline,
        old_primary=primary.name,
        candidate=best.name,
        siblings=siblings,
        sync_names=sync_setting(seen.sync_standbys, (*siblings, primary.name)),
        promote_seconds=policy.promote_seconds,
        follow_seconds=policy.follow_seconds,
        rto_seconds=policy.rto_seconds,
        pause_seconds=policy.pause_seconds,
        stop_seconds=policy.stop_seconds,
        drain_seconds=policy.drain_seconds,
    )
