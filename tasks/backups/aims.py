"""Where a recovery stops, always explicitly, why it cannot get further, and what that loses. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from blocks.backup_records import WalProof, shown
from tasks.backups.policies import TargetPolicy
from tasks.backups.state import Aim, View
from tasks.backups.survey import Survey, moment_of

#: A moment is covered by the archive when the stream was alive so shortly before it.
STREAM_SECONDS = 30.0


def aimed(view: View, policy: TargetPolicy, made: Survey, *, accept_hole: bool) -> Aim | str:
    """Say where the recovery stops; or why it cannot get there."""
    if made.first.label and not any(proof.end_lsn >= made.first.end_lsn for proof in view.proofs):
        why = why_not(made, view.proofs[-1]) if view.proofs else ""
        return f"The set {made.first.id} holds no WAL itself, and in the repository it cannot be read to its end{why}."
    if policy.target == "set":
        point = made.first.restore_point
        if not point:
            return _end_of_set(made)
        return Aim(kind="name", value=point, timeline=made.timeline, said=f"the restore point {point}")
    proof = view.proofs[-1] if view.proofs else None
    if proof is None:
        return "The WAL after the set could not be read, so it is not known how far a recovery can go."
    if policy.target == "name" and view.point is not None:
        return _to_point(policy.to, view.point, made, proof)
    if policy.target == "lsn":
        return _to_position(policy, made, proof)
    if moment := moment_of(policy):
        return _to_moment(view, made, moment)
    return _to_end(made, proof, accept_hole=accept_hole)


def _to_point(name: str, position: int, made: Survey, proof: WalProof) -> Aim | str:
    if position > proof.last_record:
        why = why_not(made, proof)
        return f"The WAL can be read up to {shown(proof.last_record)} only{why}, and {name} is at {shown(position)}."
    return Aim(kind="name", value=name, timeline=made.timeline, lsn=position, said=f"the restore point {name}")


def _to_position(policy: TargetPolicy, made: Survey, proof: WalProof) -> Aim | str:
    high, low = policy.to.split("/")
    position = (int(high, 16) << 32) + int(low, 16)
    if position > proof.last_record:
        return f"The WAL can be read up to {shown(proof.last_record)} only{why_not(made, proof)}, not to {policy.to}."
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
        why = why_not(made, proof)
        return f"The last commit that can be recovered is of {last}{why}: nothing later can be had."
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
            f"WAL that comes after {shown(proof.last_record)} cannot be used{why_not(made, proof)}. With `accept_hole`"
            " the recovery stops there; what was committed later is lost."
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


def why_not(made: Survey, proof: WalProof) -> str:
    """Say in brackets what is wrong with the WAL after the set; empty when nothing is."""
    if made.hole:
        before, after = made.hole
        return f" (of the WAL {after - before - 1} files are missing)"
    return f" ({proof.broken})" if proof.broken else ""


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
