"""Whether WAL arrives in a repository, and what mends it when it does not. Pure: looks go in, a step comes out."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Self

from pydantic import AwareDatetime, Field

from blocks.backup_records import Inlet, WalFile
from tasks.model import Frozen

#: What a receiver says when its folder cannot be gone on with: the server left that history, or removed that WAL. Where
#: servers speak another language, one start that did not help tells the same.
DEAD_END = re.compile(r"is not in this server's history|has already been removed|ahead of the WAL flush position")
#: Starts in the old folder before a new one is begun that may leave a hole.
PATIENCE = 3


class Pace(Frozen):
    """How often is looked, and how long is waited."""

    interval_seconds: float = Field(default=2.0, gt=0)
    haste_seconds: float = 0.5  #: between looks while it does not stream
    grace_seconds: float = 2.0  #: for a receiver that was started, twice as long each time
    longest_seconds: float = 30.0
    pause_seconds: float = 10.0  #: while somebody else is at work
    stuck_seconds: float = 30.0  #: without a byte that arrives, over a connection that looks alive
    late_seconds: float = 60.0
    held_seconds: float = 900.0  #: the same, while a run has the cluster in its hands
    survey_seconds: float = 300.0  #: between two looks at the whole repository


class Slot(Frozen):
    """The slot of the archive on one server."""

    lost: bool = False
    kept_from: int = 0  #: WAL is kept from here on; 0: none is
    flushed: int | None = None  #: how far it is on disk in the repository; None: nobody streams


class Server(Frozen):
    """What one server says."""

    node: str
    primary: bool
    system_identifier: str = ""
    timeline: int = 0
    written: int = 0
    bounded: bool = True  #: PostgreSQL gives a slot up before it fills the disk
    slot: Slot | None = None

    @property
    def arrived(self) -> int | None:
        """How far WAL has arrived; None: nobody streams."""
        return self.slot.flushed if self.slot else None

    @property
    def kept_bytes(self) -> int:
        """How much WAL is kept for the archive."""
        return max(0, self.written - self.slot.kept_from) if self.slot and self.slot.kept_from else 0


class View(Frozen):
    """One look at all servers; those that do not answer are not there."""

    at: AwareDatetime
    servers: tuple[Server, ...] = ()

    @property
    def primary(self) -> Server | None:
        """The one that takes writes; None as well when there are several: then nobody can tell which is right."""
        found = [each for each in self.servers if each.primary]
        return found[0] if len(found) == 1 else None


class Course(Frozen):
    """What is remembered between two looks."""

    looked_at: AwareDatetime
    since: AwareDatetime  #: a primary was seen in every look since then
    covered_at: AwareDatetime  #: what was written until then has arrived
    timeline: int = 0
    flushed: int = 0
    moved_at: AwareDatetime  #: when more had arrived
    mark: tuple[AwareDatetime, int] | None = None  #: covered up to then, as soon as this position has arrived
    streams: bool = False
    why: str = ""  #: why it does not, as far as that was seen
    held: bool = False  #: a run has the cluster in its hands
    tries: int = 0  #: receivers that were started in vain
    not_before: AwareDatetime | None = None

    @classmethod
    def begin(cls, at: AwareDatetime, covered_at: AwareDatetime | None = None, timeline: int = 0, lsn: int = 0) -> Self:
        """Begin AT; the ledger says until when WAL had arrived, and up to where."""
        covered = covered_at or at
        return cls(looked_at=at, since=at, covered_at=covered, moved_at=at, timeline=timeline, flushed=lsn)

    def note(self, view: View, pace: Pace) -> Self:
        """Take a look into account."""
        primary, at = view.primary, view.at
        # Whoever slept, and a time without a primary, says nothing about WAL: only what is written can be late.
        broken = primary is None or at - self.looked_at > timedelta(seconds=5 * pace.interval_seconds)
        new = self.model_copy(update={"looked_at": at, "held": False} | ({"since": at, "mark": None} if broken else {}))
        if primary is None:
            return new.model_copy(update={"streams": False})
        if primary.arrived is None:
            covered = primary.timeline == self.timeline and primary.written <= self.flushed
            return new.model_copy(update={"streams": False} | ({"covered_at": at} if covered else {}))
        return new.streamed(primary, primary.arrived, at)

    def streamed(self, primary: Server, arrived: int, at: AwareDatetime) -> Self:
        """Take into account that WAL streams from PRIMARY, and how far it has ARRIVED."""
        same = primary.timeline == self.timeline
        now: dict[str, object] = {"timeline": primary.timeline, "streams": True, "mark": None, "why": ""}
        now["flushed"] = max(arrived, self.flushed) if same else arrived
        if not self.streams:
            now["moved_at"] = at
        if not same or arrived > self.flushed or arrived >= primary.written:
            now |= {"moved_at": at, "tries": 0, "not_before": None}
        if arrived >= primary.written:
            return self.model_copy(update=now | {"covered_at": at})
        mark = self.mark if same else None
        if mark and arrived >= mark[1]:
            now["covered_at"], mark = mark[0], None
        return self.model_copy(update=now | {"mark": mark or (at, primary.written)})

    def because(self, why: str, *, held: bool = False) -> Self:
        """Remember why WAL does not arrive; HELD: a run has the cluster in its hands."""
        return self.model_copy(update={"why": why, "held": held})

    def waits(self, seconds: float, *, tried: bool = False) -> Self:
        """Do nothing more for so long; TRIED: a receiver was started."""
        until = self.looked_at + timedelta(seconds=seconds)
        return self.model_copy(update={"not_before": until, "tries": self.tries + tried})

    def tried(self, pace: Pace) -> Self:
        """Give a receiver that was started time to connect, more each time."""
        return self.waits(min(pace.longest_seconds, pace.grace_seconds * 2**self.tries), tried=True)


class Mend(Frozen):
    """What is done so that WAL arrives again."""

    anew: bool  #: into a new folder, because the old one cannot be gone on with
    why: str


def wanting(course: Course, view: View, pace: Pace) -> Server | None:
    """Give the primary whose WAL does not arrive, when it is time to do something about it."""
    primary = view.primary
    if primary is None or (course.not_before and view.at < course.not_before):
        return None
    if primary.arrived is None:
        return primary
    stuck = primary.arrived < primary.written and view.at - course.moved_at > timedelta(seconds=pace.stuck_seconds)
    return primary if stuck else None


def decide(primary: Server, inlet: Inlet, tries: int, segment_bytes: int) -> Mend:
    """Choose between going on in the folder there is and a new one.

    A new one begins where the slot keeps WAL. So where the slot keeps all that the archive does not have, one start
    that has not helped is enough, when something speaks against the old folder.
    """
    if primary.slot and primary.slot.lost:
        return Mend(anew=True, why="PostgreSQL has given up the slot, and the WAL with it")
    if DEAD_END.search(inlet.said):
        return Mend(anew=True, why=inlet.said)
    if inlet.newest and (why := _dead_end(primary, inlet.newest, tries, segment_bytes)):
        return Mend(anew=True, why=why)
    why = "it runs and does not stream" if inlet.receivers else "no receiver runs"
    return Mend(anew=False, why=f"{why}{f' ({inlet.said})' if inlet.said else ''}")


def _dead_end(primary: Server, newest: WalFile, tries: int, segment_bytes: int) -> str:
    goes_on = (newest.number + (not newest.partial)) * segment_bytes
    kept = primary.slot is not None and primary.slot.kept_from // segment_bytes * segment_bytes <= goes_on
    if tries < (1 if kept else PATIENCE):
        return ""
    if newest.timeline != primary.timeline:
        return f"the archive is on timeline {newest.timeline}, and {primary.node} on {primary.timeline}"
    if goes_on > primary.written:
        return f"the archive is ahead of {primary.node}"
    return "" if kept else f"{primary.node} may have removed the WAL at which the archive would go on"
