"""Which history, which set, and whether the WAL between set and target is whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from blocks.backup_records import Archive, BackupSet, Listing
from tasks.backups.state import Chain
from tasks.model import Frozen


class Leg(Frozen):
    """A stretch of one timeline: from where it left its parent to where the next one left it."""

    timeline: int
    start: int
    end: int | None  #: None: to the end of what there is


class NoHistory(Exception):  # noqa: N818 - it is a finding, and becomes the sentence of a refusal
    """It cannot be told which history is meant."""


def timeline_of(listing: Listing, recorded: int, wanted: int) -> int:
    """Choose the timeline: as WANTED, else as the primary was last RECORDED on, else the only one that can be meant."""
    known = {f.timeline for f in listing.archive.files} | {s.timeline for s in listing.sets}
    if wanted:
        if wanted not in known:
            raise NoHistory(f"The repository holds nothing of timeline {wanted}, only of {_numbers(known)}.")
        return wanted
    if recorded in known:
        return recorded
    children: dict[int, set[int]] = {}
    for branch in listing.archive.branches:
        if branch.timeline in known:
            children.setdefault(branch.parent, set()).add(branch.timeline)
    now = listing.sets[-1].timeline if listing.sets else min(known, default=1)
    while following := children.get(now):
        if len(following) > 1 or _goes_on(listing, now, following):
            choice = _numbers({now, *following})
            raise NoHistory(
                f"The history forked, and more than one line of it goes on (timelines {choice}); a drill that archived "
                "does that. Say in `timeline` which one is production's."
            )
        (now,) = following
    return now


def _goes_on(listing: Listing, parent: int, following: set[int]) -> bool:
    archive = listing.archive
    fork = max(b.lsn for b in archive.branches if b.timeline in following and b.parent == parent)
    last = max((f.number for f in archive.files if f.timeline == parent), default=0)
    return last > fork // archive.segment_bytes


def path_to(archive: Archive, timeline: int) -> tuple[Leg, ...]:
    """Give the stretches that lead to TIMELINE, the oldest first."""
    parents = {branch.timeline: branch for branch in archive.branches}
    legs: list[Leg] = []
    now, end = timeline, None
    while True:
        branch = parents.get(now)
        legs.insert(0, Leg(timeline=now, start=branch.lsn if branch else 0, end=end))
        if branch is None or branch.parent in {leg.timeline for leg in legs}:
            return tuple(legs)
        now, end = branch.parent, branch.lsn


def lies_on(made: BackupSet, path: Iterable[Leg]) -> bool:
    """Whether a recovery along PATH can begin with the set."""
    return any(
        leg.timeline == made.timeline and made.start_lsn >= leg.start and (leg.end is None or made.end_lsn <= leg.end)
        for leg in path
    )


class Wal(Frozen):
    """Which segments along a path there are."""

    first: int = 0
    last: int  #: the last there is; -1 when there is none
    holes: tuple[tuple[int, int], ...] = ()  #: the last segment before each, and the first after it

    def whole_from(self, segment: int) -> int:
        """Give the first segment from which all are there up to SEGMENT."""
        return max((after for _, after in self.holes if after <= segment), default=self.first)

    def next_hole(self, segment: int) -> tuple[int, int] | None:
        """Give the first hole that a recovery from SEGMENT on meets; an archive may also begin too late."""
        if segment < self.first:
            return segment - 1, self.first
        return next((hole for hole in self.holes if hole[1] > segment), None)


def along(archive: Archive, path: tuple[Leg, ...]) -> Wal:
    """Look which segments there are along PATH. Where a timeline begins its first segment may be that of its parent."""
    size = archive.segment_bytes
    found: set[int] = set()
    for leg in path:
        low, high = leg.start // size, leg.end // size if leg.end is not None else None
        found |= {
            f.number
            for f in archive.files
            if f.timeline == leg.timeline and f.number >= low and (high is None or f.number <= high)
        }
    numbers = sorted(found)
    holes = tuple((a, b) for a, b in pairwise(numbers) if b != a + 1)
    return Wal(first=numbers[0], last=numbers[-1], holes=holes) if numbers else Wal(last=-1)


def has_wal(made: BackupSet, wal: Wal, segment_bytes: int) -> bool:
    """Whether the WAL without which the set itself is of no use is there; pg_basebackup has put it into the set."""
    first, last = made.start_lsn // segment_bytes, (made.end_lsn - 1) // segment_bytes
    hole = wal.next_hole(first)
    return not made.label or (last <= wal.last and (hole is None or last <= hole[0]))


def chain_of(made: BackupSet, sets: dict[str, BackupSet]) -> Chain | None:
    """Give the sets that MADE is built from, the full one first; None when one is missing or bad."""
    chain = {made.id: made}
    now = made
    while now.parent:
        parent = sets.get(now.parent)
        if parent is None or parent.bad or parent.id in chain:
            return None
        now = chain[parent.id] = parent
    return None if made.bad else tuple(reversed(chain))


def chains(listing: Listing, path: tuple[Leg, ...], before: int | None, *, from_segment: int = 0) -> tuple[Chain, ...]:
    """Give every set a recovery along PATH can begin with, the newest first, proven ones before the others.

    BEFORE: the set must end at or before this position. FROM_SEGMENT: WAL is whole only from there on.
    """
    sets = {each.id: each for each in listing.sets}
    size, wal = listing.archive.segment_bytes, along(listing.archive, path)
    usable = [
        (each, chain)
        for each in sets.values()
        if lies_on(each, path)
        and has_wal(each, wal, size)
        and (before is None or each.end_lsn <= before)
        and each.start_lsn // size >= from_segment
        and (chain := chain_of(each, sets))
    ]
    usable.sort(key=lambda pair: (all(sets[name].good for name in pair[1]), pair[0].end_lsn, pair[0].id), reverse=True)
    return tuple(chain for _, chain in usable)


def _numbers(timelines: Iterable[int]) -> str:
    return ", ".join(str(each) for each in sorted(timelines)) or "none"
