"""What can be restored: the history, the sets and the WAL that lead to a target. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.backup_records import BackupSet, Listing, lsn
from tasks.backups.choose import Leg, NoHistory, Wal, along, chain_of, chains, has_wal, lies_on, path_to, timeline_of
from tasks.backups.policies import TargetPolicy
from tasks.backups.state import Chain
from tasks.model import Frozen

#: Sets that are fallen back to in one run; what is found damaged is marked, so that the next run looks further back.
MOST = 20


class Survey(Frozen):
    """Where a recovery can begin, and which WAL it then needs."""

    path: tuple[Leg, ...]
    chains: tuple[Chain, ...]
    wal: Wal
    first: BackupSet  #: the newest set of the first chain
    hole: tuple[int, int] | None = None  #: the first hole that a recovery from it meets

    @property
    def timeline(self) -> int:
        """Name the history that is followed."""
        return self.path[-1].timeline


def survey(listing: Listing, policy: TargetPolicy, recorded_timeline: int, point: int | None = None) -> Survey | str:
    """Find the sets that lead to the target of POLICY, a restore point being at POINT; or say why there is none."""
    if not listing.sets and listing.unreadable:
        return f"The repository holds no set whose record can be read; that of {listing.unreadable[-1]} is damaged."
    if not listing.sets:
        return "The repository holds no set: run backup-take while there is a database."
    wanted = _wanted(policy, point)
    if isinstance(wanted, str):
        return wanted
    try:
        timeline = timeline_of(listing, recorded_timeline, policy.timeline or _named_timeline(listing, policy))
    except NoHistory as error:
        return str(error)
    path = path_to(listing.archive, timeline)
    wal = along(listing.archive, path)
    found = _found(listing, policy, (path, wal), wanted)
    if isinstance(found, str):
        return found
    first = next(each for each in listing.sets if each.id == found[0][-1])
    hole = wal.next_hole(first.start_lsn // listing.archive.segment_bytes)
    return Survey(path=path, chains=found[:MOST], wal=wal, first=first, hole=hole)


def moment_of(policy: TargetPolicy) -> datetime | None:
    """Read the moment that is recovered to; None when the target is none, or cannot be read."""
    try:
        moment = datetime.fromisoformat(policy.to) if policy.target == "time" else None
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment and moment.tzinfo else moment


def _wanted(policy: TargetPolicy, point: int | None) -> tuple[datetime | None, int | None] | str:
    if policy.target == "latest":
        return (None, None) if not policy.to else "For latest leave `to` empty, or choose another target."
    if not policy.to:
        return f"Say in `to` which {policy.target} is meant."
    if policy.target == "time":
        moment = moment_of(policy)
        if moment is None or moment.tzinfo is None:
            return f"`{policy.to}` is no time with its zone: write it like 2026-11-29 14:05:00+00:00."
        return moment, None
    if policy.target == "lsn":
        try:
            return None, lsn(policy.to)
        except ValueError:
            return f"`{policy.to}` is no position in the WAL: write it like 1/5A000028."
    return None, point


def _named_timeline(listing: Listing, policy: TargetPolicy) -> int:
    if policy.target != "set":
        return 0
    return next((each.timeline for each in listing.sets if each.id == policy.to), 0)


def _found(
    listing: Listing,
    policy: TargetPolicy,
    history: tuple[tuple[Leg, ...], Wal],
    wanted: tuple[datetime | None, int | None],
) -> tuple[Chain, ...] | str:
    (path, wal), (moment, position) = history, wanted
    size = listing.archive.segment_bytes
    if policy.target == "set":
        return _one(listing, policy.to, path, wal)
    if position is not None:
        found = chains(listing, path, position, from_segment=wal.whole_from(position // size))
        what = "restore point" if policy.target == "name" else "position"
        return found or _none_before(listing, f"the {what} {policy.to}")
    if moment is not None:
        found = _ended_by(listing, history, moment)
        return found or _none_before(listing, f"{moment:%Y-%m-%d %H:%M:%S} UTC")
    if policy.target == "name":
        return (
            f"There is no restore point `{policy.to}` in the WAL of the repository, from its oldest set of timeline "
            f"{path[-1].timeline} on. If it was set a moment ago, run this again."
        )
    found = chains(listing, path, None, from_segment=wal.whole_from(wal.last)) or _ended_by(listing, history, None)
    return found or f"No set of timeline {path[-1].timeline} is good: each is damaged, or what it builds on is missing."


def _ended_by(listing: Listing, history: tuple[tuple[Leg, ...], Wal], moment: datetime | None) -> tuple[Chain, ...]:
    """Give the sets that had ended at MOMENT, but none that a hole divides from the newest of them."""
    path, wal = history
    sets = {each.id: each for each in listing.sets}
    found = [each for each in chains(listing, path, None) if moment is None or sets[each[-1]].ended_at <= moment]
    begins = {each: sets[each[-1]].start_lsn // listing.archive.segment_bytes for each in found}
    whole = wal.whole_from(max(begins.values(), default=0))
    return tuple(each for each in found if begins[each] >= whole) or tuple(found)


def _one(listing: Listing, name: str, path: tuple[Leg, ...], wal: Wal) -> tuple[Chain, ...] | str:
    made = next((each for each in listing.sets if each.id == name), None)
    if made is None:
        return f"The repository holds no set {name}; its newest is {listing.sets[-1].id}."
    chain = chain_of(made, {each.id: each for each in listing.sets})
    if chain is None:
        return f"The set {name} cannot be used: {made.bad or 'a set that it builds on is missing or bad'}."
    if not has_wal(made, wal, listing.archive.segment_bytes):
        return f"The set {name} holds no WAL itself, and some that it needs is missing from the repository."
    return (chain,) if lies_on(made, path) else f"The set {name} is not on timeline {path[-1].timeline}."


def _none_before(listing: Listing, where: str) -> str:
    oldest = min(listing.sets, key=lambda each: each.ended_at)
    return (
        f"No good set with whole WAL up to there ends before {where}; the oldest set, {oldest.id}, ended at "
        f"{oldest.ended_at:%Y-%m-%d %H:%M:%S} UTC."
    )
