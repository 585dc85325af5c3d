"""Moving the primary of a cluster that nobody else manages: plain functions, each one operator's step.

Every function looks first and finds its work done already when it is called again, and proves itself by what the
servers say afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from blocks.errors import Ambiguous, SalvorError, StandDown, Transient
from blocks.postgres_session import Row
from tasks.postgres.candidates import SyncRule, settled, sync_setting
from tasks.postgres.following import RELOAD, await_streaming, create_slot, point
from tasks.postgres.reach import PATIENCE, SQL, Reach, lsn, quoted
from tasks.postgres.state import FailoverPlan, MovePlan, SwitchoverPlan
from tasks.waiting import each, until

#: Seconds a fence command may take: a cloud's stop call is confirmed within a minute.
POWER_PATIENCE = 60.0
#: Seconds in which a standby begins to apply what it has received, if it can.
SETTLING = 0.2
#: Seconds in which a standby turns to the new primary while clients wait.
TURN = 0.5


def fence(at: Reach, plan: FailoverPlan) -> str:
    """Make another write of the old primary impossible, by the first fence of the plan that can be proven."""
    open_nodes = list(dict.fromkeys(name for name, _ in plan.fences))
    said = []
    for name, kind in plan.fences:
        if name not in open_nodes:
            continue
        try:
            said.append(f"{name}: {FENCES[kind](at, name)}")
        except SalvorError as error:  # not reached, not finished in time, or refused: not proven, whatever it was
            said.append(f"{name}: not by {kind} ({error})")
        else:
            open_nodes.remove(name)
    if open_nodes:
        raise StandDown(f"No fence held for {', '.join(open_nodes)}: {'; '.join(said)}. Nobody was promoted.")
    return "; ".join(said) or "nothing to fence" + (", as a person approved" if plan.ask else "")


def _fence_process(at: Reach, name: str) -> str:
    # Whoever starts this server again, an init system for one, must get a standby.
    return at.node(name).stop("kill", PATIENCE, as_standby=True)


def _fence_power(at: Reach, name: str) -> str:
    return at.node(name).fence_power(POWER_PATIENCE)


def _fence_sync(_at: Reach, _name: str) -> str:
    return "it cannot acknowledge a commit once its standbys have left it, which is the next step"


def _fence_route(at: Reach, _name: str) -> str:
    for pooler in at.poolers.values():
        pooler.disable()
    return f"no client reaches it: disabled at {', '.join(at.poolers)}"


FENCES: dict[str, Callable[[Reach, str], str]] = {
    "process": _fence_process,
    "power": _fence_power,
    "sync": _fence_sync,
    "route": _fence_route,
}


def unfence(at: Reach, plan: FailoverPlan) -> str:
    """Nobody was promoted: give the old primary back."""
    node = at.node(plan.old_primary)
    if ("process" in {kind for name, kind in plan.fences if name == plan.old_primary}) and not node.processes(PATIENCE):
        node.remove_standby_signal(PATIENCE)
        node.start(PATIENCE * 6)
    for pooler in at.poolers.values():
        pooler.enable()
    return f"{plan.old_primary} was given back"


def stop_receiving(at: Reach, plan: MovePlan) -> str:
    """Take every standby off the old primary, so that positions stand still and no commit can be acknowledged."""
    if not at.sql(plan.candidate, SQL["recovery"])[0]["in_recovery"]:
        return f"{plan.candidate} is primary already: nobody receives from {plan.old_primary}"

    def leave(name: str) -> bool:
        at.sql(name, SQL["stop_receiving"], RELOAD)
        return until(lambda: at.sql(name, SQL["receivers"])[0]["receivers"] == 0, PATIENCE)

    left = each((plan.candidate, *plan.siblings), leave)
    if stuck := [name for name, done in left.items() if not done]:
        raise StandDown(f"{', '.join(stuck)} still receives WAL although told to stop. Nobody was promoted.")
    return f"{', '.join(left)} receive nothing any more"


def receive_again(at: Reach, plan: MovePlan) -> str:
    """Nobody was promoted: let the standbys follow the old primary again."""
    names = (plan.candidate, *plan.siblings)
    each(names, lambda name: point(at, name, plan.old_primary))
    return f"{', '.join(names)} follow {plan.old_primary} again"


def settle(at: Reach, plan: FailoverPlan) -> FailoverPlan:
    """Compare positions now that they stand still; the most advanced standby is the candidate.

    A candidate that is no standby any more has been promoted by a run that was cut off: it stays the candidate.
    """
    seen = each((plan.candidate, *plan.siblings), lambda name: at_rest(at, name))
    ahead = {name: reachable_lsn(row) for name, row in seen.items() if row["in_recovery"]}
    return settled(plan, ahead) if seen[plan.candidate]["in_recovery"] else plan


def at_rest(at: Reach, name: str) -> Row:
    """Return where NAME is once it has applied all that it received, or has had the time to show that it cannot."""
    looks: list[Row] = []

    def rests() -> bool:
        looks.append(at.sql(name, SQL["recovery"])[0])
        return bool(looks[-1]["replayed_lsn"] >= looks[-1]["received_lsn"])

    until(rests, SETTLING)
    return looks[-1]


def reachable_lsn(row: Row) -> int:
    """Return how far a standby can come: one that waits for WAL although it has some cannot apply what it has."""
    received, replayed = int(row["received_lsn"]), int(row["replayed_lsn"])
    return replayed if row["waits_for_wal"] else max(received, replayed)


def promote(at: Reach, plan: MovePlan) -> str:
    """Make the candidate the primary, with the synchronous rule that fits who is left."""
    if not at.sql(plan.candidate, SQL["recovery"])[0]["in_recovery"]:
        return f"{plan.candidate} is primary already"
    rule = f"ALTER SYSTEM SET synchronous_standby_names = {quoted(plan.sync_names)}"
    started = time.monotonic()
    at.sql(plan.candidate, rule, RELOAD, SQL["promote"])
    if not until(lambda: promoted(at, plan.candidate), plan.promote_seconds):
        raise Ambiguous(
            f"{plan.candidate} was told to promote and is not primary after {plan.promote_seconds} s. Look at its log; "
            "run this again to go on, with the next candidate if it is dead."
        )
    took = time.monotonic() - started
    turn(at, plan)
    return f"{plan.candidate} took over in {took:.2f} s"


def turn(at: Reach, plan: MovePlan) -> None:
    """Turn the siblings to the new primary before clients come, for commits wait for one of them.

    One that does not listen at once is left to `follow`, which tells all of them again, and says who does not.
    """

    def tell(name: str) -> None:
        with suppress(SalvorError):
            at.sql(plan.candidate, create_slot(name), deadline=TURN)
            point(at, name, plan.candidate, slot=True, seconds=TURN)

    each(plan.siblings, tell)


def promoted(at: Reach, name: str) -> bool:
    """Whether NAME is out of recovery; a server that does not answer is not."""
    try:
        return not at.sql(name, SQL["recovery"], deadline=1.0)[0]["in_recovery"]
    except Transient as error:
        raise Ambiguous(
            f"{name} died while it was promoted ({error}). Run this again: the next candidate takes over."
        ) from error


def follow(at: Reach, plan: MovePlan) -> str:
    """Let every other standby follow the new primary, with a slot, and wait until they stream.

    Commits must not wait for ever for one that does not: the rule then asks for those that do, until a rejoin.
    """
    new = plan.candidate
    for name in plan.siblings:
        at.sql(new, create_slot(name))
    each(plan.siblings, lambda name: led(at, name, new))
    missing = await_streaming(at, new, set(plan.siblings), plan.follow_seconds)
    rest = tuple(name for name in plan.siblings if name not in missing)
    rule = sync_setting(SyncRule(plan.sync_names).count, rest) if missing else plan.sync_names
    demand(at, new, rule)
    if not missing:
        return f"{', '.join(plan.siblings) or 'nobody'} follows {new}"
    return f"{', '.join(missing)} does not follow {new}; commits wait for {rule or 'nobody'}: run postgres-rejoin"


def demand(at: Reach, primary: str, rule: str) -> None:
    """Let commits on PRIMARY wait for the standbys of RULE."""
    if at.sql(primary, SQL["synchronous"])[0]["rule"] != rule:
        at.sql(primary, f"ALTER SYSTEM SET synchronous_standby_names = {quoted(rule)}", RELOAD)


def led(at: Reach, name: str, new: str) -> str:
    """Point one standby at NEW and let it apply what comes; when it cannot be told, the others still are."""
    try:
        said = point(at, name, new, slot=True)
        at.sql(name, "SELECT pg_wal_replay_resume()")
    except SalvorError as error:
        said = f"{name} could not be told: {error}"
    return said


def checkpoint(at: Reach, plan: SwitchoverPlan) -> str:
    """Flush dirty pages now, so that the shutdown finds few."""
    try:
        at.sql(plan.old_primary, "CHECKPOINT", deadline=60.0)
    except Transient as error:
        return f"no checkpoint: {error}"
    return f"{plan.old_primary} has little left to flush"


def stop_primary(at: Reach, plan: SwitchoverPlan) -> str:
    """Stop the old primary in order and wait until the candidate has its last byte."""
    if not at.sql(plan.candidate, SQL["recovery"])[0]["in_recovery"]:
        return f"{plan.candidate} is primary already"
    node = at.node(plan.old_primary)
    try:
        said = node.stop("fast", plan.stop_seconds)
    except Ambiguous as error:
        raise StandDown(
            f"{plan.old_primary} did not stop in {plan.stop_seconds:g} s, so it is started again."
        ) from error
    last = node.control_data(PATIENCE)
    if (state := last["Database cluster state"]) != "shut down":
        raise StandDown(f"{plan.old_primary} did not stop cleanly ({state}), so its last rows are not proven.")
    end = lsn(last["Latest checkpoint location"])

    def drained() -> bool:
        return int(at.sql(plan.candidate, SQL["recovery"])[0]["replayed_lsn"]) > end

    if not until(drained, plan.drain_seconds):
        raise StandDown(f"{plan.candidate} did not receive all of {plan.old_primary} in {plan.drain_seconds:g} s.")
    return f"{said}; {plan.candidate} has its last byte"


def start_primary(at: Reach, plan: SwitchoverPlan) -> str:
    """Nobody was promoted: start the old primary again."""
    node = at.node(plan.old_primary)
    if node.processes(PATIENCE):
        # A stop that timed out cannot be called back: what is begun is ended, then the server starts anew.
        node.stop("immediate", PATIENCE)
    node.start(PATIENCE * 6)
    return f"{plan.old_primary} is primary again"


def demote(at: Reach, plan: SwitchoverPlan) -> str:
    """Start the old primary as a standby of the new one; it stopped cleanly, so it needs no rewind."""
    node, new = at.node(plan.old_primary), plan.candidate
    at.sql(new, create_slot(plan.old_primary))
    if not node.processes(PATIENCE):
        node.write_standby_signal(PATIENCE)
        conninfo = at.cluster.replication_conninfo(new, plan.old_primary)
        node.write_settings({"primary_conninfo": conninfo, "primary_slot_name": plan.old_primary}, PATIENCE)
        node.start(PATIENCE * 6, as_standby=True)
    return followed(at, plan)


def followed(at: Reach, plan: SwitchoverPlan) -> str:
    """Wait for the old primary, and let commits wait for everybody who is meant to be waited for and is there."""
    meant = (*plan.siblings, plan.old_primary)
    missing = await_streaming(at, plan.candidate, set(meant), plan.follow_seconds)
    there = tuple(name for name in meant if name not in missing)
    demand(at, plan.candidate, sync_setting(SyncRule(plan.sync_names).count, there))
    return f"{', '.join(missing)} does not stream yet" if missing else f"{plan.old_primary} follows {plan.candidate}"
