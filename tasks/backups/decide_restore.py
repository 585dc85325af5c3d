"""From which set, to where, and what that loses. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from blocks.backup_records import WalProof, shown
from tasks.backups.policies import DrillPolicy, RestorePolicy, TargetPolicy
from tasks.backups.state import Aim, Place, RestorePlan, View
from tasks.backups.survey import Survey, moment_of, survey
from tasks.model import Decision

P = TypeVar("P", bound=RestorePlan)
SPARE = 1.2  #: a restored directory grows by the WAL that is replayed
MEGABYTE = 2**20
#: A moment is covered by the archive when the stream was alive so shortly before it.
STREAM_SECONDS = 30.0


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
    return Decision.go(RestorePlan(**planned(view, policy, made, place, aim) | {"files_into": policy.files_into}))


def decide_drill(view: View, policy: DrillPolicy, place: Place) -> Decision[RestorePlan]:
    """Decide which set is practised with, in the scratch folder PLACE."""
    made = surveyed(view, policy)
    if isinstance(made, str):
        return Decision.refuse(made)
    if wrong := unfit(place, made):
        return Decision.refuse(wrong)
    aim = aimed(view, policy, made, accept_hole=False)
    if isinstance(aim, str):
        return Decision.refuse(aim)
    plan = planned(view, policy, made, place, aim)
    return Decision.go(
        RestorePlan(
            **plan
            | {
                "resource": f"recovery.drill.{view.target}",
                "why": f"Practise in the scratch folder the recovery from {made.first.id} to {aim.said}.",
                "loss": "Nothing: production is not touched, and the repository is only read.",
                "in_place": False,
                "others": (),
                "salvage_from": 0,
                "what": policy.what,
                "wal_problem": _wal_problem(view, made),
                "deep": policy.deep,
                "protect": False,
            }
        )
    )


def _wal_problem(view: View, made: Survey) -> str:
    if not view.proofs:
        return "it could not be read"
    return _why(made, view.proofs[-1]).strip(" ()")


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
    return survey(view.listing, policy, view.recorded.timeline if view.recorded else 0)


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


def aimed(view: View, policy: TargetPolicy, made: Survey, *, accept_hole: bool) -> Aim | str:
    """Say where the recovery stops; or why it cannot get there."""
    if policy.target == "set":
        point = made.first.restore_point
        if not point:
            return _end_of_set(made)
        return Aim(kind="name", value=point, timeline=made.timeline, said=f"the restore point {point}")
    if policy.target == "name":
        return Aim(kind="name", value=policy.to, timeline=made.timeline, said=f"the restore point {policy.to}")
    proof = view.proofs[-1] if view.proofs else None
    if proof is None:
        return "The WAL after the set could not be read, so it is not known how far a recovery can go."
    if policy.target == "lsn":
        return _to_position(policy, made, proof)
    if moment := moment_of(policy):
        return _to_moment(view, made, moment)
    return _to_end(made, proof, accept_hole=accept_hole)


def _to_position(policy: TargetPolicy, made: Survey, proof: WalProof) -> Aim | str:
    high, low = policy.to.split("/")
    position = (int(high, 16) << 32) + int(low, 16)
    if position > proof.last_record:
        return f"The WAL can be read up to {shown(proof.last_record)} only{_why(made, proof)}, not to {policy.to}."
    return Aim(kind="lsn", value=policy.to, timeline=made.timeline, lsn=position, said=f"the position {policy.to}")


def _to_moment(view: View, made: Survey, moment: datetime) -> Aim | str:
    proof, last_commit = view.proofs[-1], last_commit_of(view.proofs)
    if moment > view.at:
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC lies in the future."
    if last_commit and moment < last_commit:
        return _at_moment(made.timeline, moment)
    receiver = view.listing.archive.receiver if view.listing else None
    streamed = view.at - timedelta(seconds=receiver.silence_seconds + STREAM_SECONDS) if receiver else None
    covered = receiver is not None and (receiver.alive or (streamed is not None and moment <= streamed))
    if moment != last_commit and (_broken(made, proof) or not covered):
        last = f"{last_commit:%Y-%m-%d %H:%M:%S.%f} UTC" if last_commit else "an unknown time"
        return f"The last commit that can be recovered is of {last}{_why(made, proof)}: nothing later can be had."
    # Nothing was committed since; PostgreSQL itself would wait for a later commit, and fail.
    return _end(made, proof).model_copy(update={"moment": moment})


def _at_moment(timeline: int, moment: datetime) -> Aim:
    said = f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"
    return Aim(kind="time", value=moment.isoformat(), timeline=timeline, moment=moment, said=said)


def last_commit_of(proofs: tuple[WalProof, ...]) -> datetime | None:
    """Give the time of the last commit; the newest timeline may have none yet."""
    return max((proof.last_commit for proof in proofs if proof.last_commit), default=None)


def settled(aim: Aim, now: WalProof) -> Aim:
    """Aim anew, when WAL that was copied out of the damaged directory leads further; but not past the moment wanted."""
    if aim.kind != "lsn" or aim.lsn is None or now.last_record <= aim.lsn:
        return aim
    if aim.moment and now.last_commit and now.last_commit > aim.moment:
        return _at_moment(aim.timeline, aim.moment)
    return aim.model_copy(update={"lsn": now.last_record, "value": shown(now.last_record)})


def _to_end(made: Survey, proof: WalProof, *, accept_hole: bool) -> Aim | str:
    if _broken(made, proof) and not accept_hole:
        return (
            f"WAL that comes after {shown(proof.last_record)} cannot be used{_why(made, proof)}. With `accept_hole` the"
            " recovery stops there; what was committed later is lost."
        )
    return _end(made, proof)


def _end(made: Survey, proof: WalProof) -> Aim:
    if proof.last_record < made.first.end_lsn:
        return _end_of_set(made)
    last = f", whose last commit is of {proof.last_commit:%Y-%m-%d %H:%M:%S} UTC" if proof.last_commit else ""
    return Aim(
        kind="lsn",
        value=shown(proof.last_record),
        timeline=made.timeline,
        lsn=proof.last_record,
        latest=not _broken(made, proof),
        said=f"the last record of the WAL, {shown(proof.last_record)}{last}",
    )


def _end_of_set(made: Survey) -> Aim:
    """Aim where the set is consistent: the WAL up to there is in the set itself."""
    said = f"the end of the set {made.first.id}"
    return Aim(kind="immediate", value="", timeline=made.first.timeline, lsn=made.first.end_lsn, said=said)


def _broken(made: Survey, proof: WalProof) -> bool:
    return bool(made.hole or proof.broken)


def _why(made: Survey, proof: WalProof) -> str:
    if made.hole:
        before, after = made.hole
        return f" (of the WAL {after - before - 1} files are missing)"
    return f" ({proof.broken})" if proof.broken else ""


def planned(view: View, policy: TargetPolicy, made: Survey, place: Place, aim: Aim) -> dict[str, Any]:
    """Give what every restore has in common."""
    proof = view.proofs[-1] if view.proofs else None
    bases = ", ".join(each[-1] for each in made.chains[1:3])
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
        "running": tuple(each.name for each in view.places if each.answers),
        "was_primary": "".join(each.name for each in view.primaries[:1]),
        "dead": tuple(each.name for each in view.places if not each.reachable),
        "recorded": view.recorded,
        "salvage_from": proof.end_lsn if proof and aim.latest and place.directory == "present" else 0,
        "restore_seconds": policy.restore_seconds,
        "recover_seconds": policy.recover_seconds,
    }


def lost(view: View, aim: Aim, proof: WalProof | None) -> str:
    """Say what a recovery to AIM loses, as far as anybody wrote down how far the primary was."""
    if not aim.latest:
        return f"Everything that was committed after {aim.said}. The old directory is kept beside the new one."
    last = view.recorded
    if last is None or proof is None:
        return "It is not known how far the primary was when it was lost; what the repository holds is restored whole."
    missing = max(0, last.lsn - proof.end_lsn)
    if missing and last.timeline == proof.timeline:
        return (
            f"{missing} bytes of WAL, which the primary was seen to have at {last.at:%H:%M:%S} UTC and the repository "
            "does not; they are looked for in the damaged directory first."
        )
    return f"Nothing that the primary was seen to have at {last.at:%Y-%m-%d %H:%M:%S} UTC."
