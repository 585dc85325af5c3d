"""From which set, to where, and what that loses. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

from tasks.backups.aims import aimed, lost
from tasks.backups.policies import RestorePolicy, TargetPolicy
from tasks.backups.state import Aim, Place, RestorePlan, View
from tasks.backups.survey import Survey, survey
from tasks.model import Decision

P = TypeVar("P", bound=RestorePlan)
SPARE = 1.2  #: a restored directory grows by the WAL that is replayed
MEGABYTE = 2**20


def decide_restore(view: View, policy: RestorePolicy) -> Decision[RestorePlan]:
    """Decide which set takes the place of which node's directory."""
    if cut_off := resumed(view, view.unfinished):
        return Decision.go(cut_off)
    made = surveyed(view, policy)
    if isinstance(made, str):
        return Decision.refuse(made)
    place = view.place(policy.node) if policy.node else place_of(view)
    if place is None:
        known = ", ".join(each.name for each in view.places)
        return Decision.refuse(f"This cluster has no node `{policy.node}`, only {known}.")
    if wrong := unfit(place, made):
        return Decision.refuse(wrong)
    aim = aimed(view, policy, made, accept_hole=policy.accept_hole)
    if isinstance(aim, str):
        return Decision.refuse(aim)
    return Decision.go(
        RestorePlan(
            **planned(view, policy, made, place, aim) | {"files_into": policy.files_into, "mongo": policy.mongo}
        )
    )


def resumed(view: View, plan: P | None) -> P | None:
    """Give the plan of a run that was cut off when its set is already in place, so that this run goes on with it."""
    if plan is None:
        return None
    place = view.place(plan.node)
    there = plan.way == "restore" and place is not None and place.restored == plan.stamp
    return plan.model_copy(update={"why": f"Go on with what was cut off: {plan.why}", "ask": ""}) if there else None


def surveyed(view: View, policy: TargetPolicy) -> Survey | str:
    """Find what leads to the target; or say why nothing does."""
    if view.listing is None:
        seen = f" When it was last seen it held {len(view.last_seen)} sets." if view.last_seen else ""
        return f"The repository could not be read: {view.problem}{seen}"
    held = view.listing.system_identifier
    if view.system_identifier and held and held != view.system_identifier:
        return f"The repository holds the backups of another cluster ({held}, this is {view.system_identifier})."
    return survey(view.listing, policy, _timeline(view), view.point)


def _timeline(view: View) -> int:
    """Say which history is production's: of the primary that answers, else what was seen last, a record or a set.

    0: follow the newest set.
    """
    if len(view.primaries) == 1:
        return view.primaries[0].timeline
    sets = view.listing.sets if view.listing else ()
    newest = max((each.ended_at for each in sets), default=None)
    last = view.recorded
    return last.timeline if last and (newest is None or last.at >= newest) else 0


def place_of(view: View) -> Place:
    """Give the node that was the primary last, or the first whose host can be reached."""
    by_name = {place.name: place for place in view.places}
    last = by_name.get(view.recorded.node) if view.recorded else None
    now = view.primaries[0] if view.primaries else last
    if now and now.reachable:
        return now
    fit = [place for place in view.places if place.reachable and not place.nofailover]
    return next(iter(sorted(fit, key=lambda each: -each.free_bytes)), now or view.places[0])


def unfit(place: Place, made: Survey) -> str:
    """Say why PLACE cannot take the set; empty when it can."""
    if not place.reachable:
        return f"The host of {place.name} cannot be reached: {place.problem or 'no answer'}"
    if not place.sees_repository:
        return f"The host of {place.name} does not see the repository: mount it there under the same path."
    if place.major and place.major != made.first.major:
        return (
            f"The set {made.first.id} is of PostgreSQL {made.first.major} and {place.name} has {place.major}: files are"
            " restored by the same version only. Correct bin_directory of the node."
        )
    need = int(made.first.restored_bytes * SPARE) - place.held_bytes
    if place.free_bytes < need:
        return (
            f"{made.first.id} needs {need // MEGABYTE} MB beside the data directory of {place.name} and "
            f"{place.free_bytes // MEGABYTE} MB are free: make room (the damaged directory is kept)."
        )
    return ""


def planned(view: View, policy: TargetPolicy, made: Survey, place: Place, aim: Aim) -> dict[str, Any]:
    """Give what every restore has in common."""
    proof = view.proofs[-1] if view.proofs else None
    bases = ", ".join(each[-1] for each in made.chains[1:3])
    running, was_primary = before(view)
    return {
        "resource": view.resource,
        "key": f"restore-{place.name}-{made.first.id}-{aim.kind}-{aim.value}",
        "once": False,
        "why": f"Restore {place.name} from {made.first.id} to {aim.said}"
        + (f"; if that set is damaged, from {bases}." if bases else "."),
        "loss": lost(view, aim, proof),
        "target": view.target,
        "node": place.name,
        "chains": made.chains,
        "aim": aim,
        "system_identifier": view.listing.system_identifier if view.listing else "",
        "stamp": f"{view.at:%Y%m%dT%H%M%SZ}",
        "others": tuple(each.name for each in view.places if each.reachable),
        "running": running,
        "was_primary": was_primary,
        "dead": tuple(each.name for each in view.places if not each.reachable),
        "recorded": view.recorded,
        "salvage_from": proof.end_lsn if proof and aim.latest and place.directory == "present" else 0,
        "restore_seconds": policy.restore_seconds,
        "recover_seconds": policy.recover_seconds,
    }


def before(view: View) -> tuple[tuple[str, ...], str]:
    """Say who is to run again when this is taken back, and which of them takes writes.

    Where nobody answers because a run stopped them and died: those that ran before that one.
    """
    died = view.unfinished or view.unfinished_disaster
    answers = tuple(each.name for each in view.places if each.answers)
    if died and not answers:
        return died.running, died.was_primary
    return answers, "".join(each.name for each in view.primaries[:1])
