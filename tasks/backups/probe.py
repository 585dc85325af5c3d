"""Looking at a cluster and its repository before and while it is restored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import TypeVar

from blocks.errors import StandDown
from tasks.backups.aims import aimed, settled
from tasks.backups.decide_restore import surveyed, unfit
from tasks.backups.looking import locate, look, place_of, prove
from tasks.backups.policies import DrillPolicy, TargetPolicy
from tasks.backups.reach import SCRATCH, Reach
from tasks.backups.state import DisasterPlan, Place, RestorePlan, View
from tasks.effects import probe
from tasks.guard import current

R = TypeVar("R", bound=RestorePlan)


@probe
def observe_backups(at: Reach, *, sized: bool = False) -> View:
    """Look at every node, its host and the repository. What does not answer is seen as not answering.

    SIZED: ask how much a full backup copies.
    """
    return look(at, [node.name for node in at.cluster.nodes], sized=sized)


@probe
def observe_target(at: Reach, policy: TargetPolicy) -> View:
    """Look at everything, and read the WAL from the set that would be restored to where it ends."""
    view = look(at, [node.name for node in at.cluster.nodes])
    view = view.model_copy(update={"point": locate(at, view, policy)})
    return view.model_copy(update={"proofs": prove(at, view, policy)})


@probe
def draw_target(at: Reach, policy: DrillPolicy) -> DrillPolicy:
    """Draw what is practised: the newest good set as it was taken, or a random second that should be covered."""
    if policy.what in {"target", "dump"}:
        return policy
    if policy.what == "latest":
        return policy.model_copy(update={"target": "latest", "to": ""})
    good = [each for each in at.repository.look().sets if each.good]
    if policy.what == "newest" or not good:
        return policy.model_copy(
            update={"target": "set", "to": good[-1].id} if good else {"target": "latest", "to": ""}
        )
    now = datetime.now(UTC)
    begin = max(now - timedelta(days=policy.days), min(each.ended_at for each in good))
    moment = begin + timedelta(seconds=SystemRandom().uniform(0, max(0.0, (now - begin).total_seconds())))
    return policy.model_copy(update={"target": "time", "to": moment.isoformat()})


@probe
def observe_scratch(at: Reach) -> Place:
    """Look at the folder that a drill may use, and at the room that it may take there."""
    place = place_of(at, SCRATCH, None)
    kept = at.scratch.keep_free_bytes if at.scratch else 0
    return place.model_copy(update={"free_bytes": max(0, place.free_bytes - kept)})


@probe
def settle_aim(at: Reach, plan: R) -> R:
    """Look once more how far the WAL reaches, now that what was in the damaged directory was copied out."""
    aim = plan.aim
    if isinstance(plan, DisasterPlan) and plan.offsite and not current().dry_run:
        return _from_copy(at, plan)
    if current().dry_run or not (aim.latest and aim.kind == "lsn" and aim.lsn):
        return plan
    now = at.repository.prove(aim.timeline, aim.lsn, deadline=plan.restore_seconds)
    return plan.model_copy(update={"aim": settled(aim, now)})


@probe
def settle_node(at: Reach, plan: DisasterPlan) -> DisasterPlan:
    """Look who was promoted, where postgres-failover has chosen."""
    if plan.way != "failover" or current().dry_run:
        return plan
    found = look(at, [node.name for node in at.cluster.nodes]).primaries
    return plan.model_copy(update={"node": found[0].name}) if found else plan


def _from_copy(at: Reach, plan: R) -> R:
    """Choose set and target in the repository that was brought back."""
    policy = TargetPolicy(restore_seconds=plan.restore_seconds, recover_seconds=plan.recover_seconds)
    view = look(at, [node.name for node in at.cluster.nodes])
    view = view.model_copy(update={"proofs": prove(at, view, policy)})
    made, place = surveyed(view, policy), view.place(plan.node)
    aim = made if isinstance(made, str) or place is None else aimed(view, policy, made, accept_hole=True)
    if isinstance(made, str) or isinstance(aim, str) or place is None:
        raise StandDown(f"The copy cannot be restored: {made if isinstance(made, str) else aim}")
    if wrong := unfit(place, made):
        raise StandDown(wrong)
    identity = view.listing.system_identifier if view.listing else ""
    return plan.model_copy(update={"chains": made.chains, "aim": aim, "system_identifier": identity})
