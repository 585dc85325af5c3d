"""What on-call must be told of an archive, in words. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime

from flows.triggers.archiver.decide import Course, Pace, View
from tasks.model import Frozen

GIGABYTE = 10**9
#: A trouble of size is over when it is so much smaller than the bound, so that it does not come and go.
OVER = 0.8


class Trouble(Frozen):
    """Something that somebody must do something about."""

    title: str
    body: str
    urgency: Literal["page", "inform"] = "page"


#: By name: a trouble, or None when there is none. What could not be seen is not there at all.
Troubles = dict[str, Trouble | None]


class Bounds(Frozen):
    """What a repository's block allows."""

    slot_bytes: int
    set_days: float
    drill_days: float


class Kept(Frozen):
    """What the ledger and the repository say of sets and drills."""

    known_since: AwareDatetime
    newest_at: AwareDatetime | None = None  #: when the newest good set was taken
    drills: bool = False  #: they are wanted, or there were some
    passed_at: AwareDatetime | None = None
    practised_since: AwareDatetime | None = None


def of_wal(target: str, course: Course, view: View, pace: Pace) -> Troubles:
    """Say whether WAL is late."""
    primary = view.primary
    if primary is None:
        return {}
    seconds = (view.at - course.covered_at).total_seconds()
    watched = (view.at - course.since).total_seconds()
    if seconds <= pace.late_seconds:
        return {"late": None}
    if min(seconds, watched) <= (pace.held_seconds if course.held else pace.late_seconds):
        return {}
    behind = f"It streams, and is {(primary.written - (primary.arrived or 0)) / 2**20:.0f} MB behind"
    cause = course.why or (behind if primary.arrived is not None else "Nobody streams")
    body = (
        f"{primary.node} writes, and nothing of what it wrote since {course.covered_at:%Y-%m-%d %H:%M:%S} UTC "
        f"({seconds:.0f} s) is known to be in the repository. "
        f"**What is written now is lost when {primary.node} is lost.**\n\n"
        f"What was seen: {cause.rstrip('.')}.\n\n"
        "What to do: look at the disk of the repository and at receiver.log in its folder `wal`. "
        "The archiver tries again by itself, and says when WAL arrives."
    )
    return {"late": Trouble(title=f"{target}: WAL does not arrive in the backup repository", body=body)}


def of_slot(target: str, view: View, bounds: Bounds) -> Troubles:
    """Say whether a server keeps so much WAL for the archive that its disk may fill up."""
    if not view.servers:
        return {}
    worst = max(view.servers, key=lambda each: each.kept_bytes)
    found: Troubles = {}
    if worst.kept_bytes > bounds.slot_bytes:
        body = (
            f"{worst.node} keeps {worst.kept_bytes / GIGABYTE:.1f} GB of WAL for the archive, more than "
            f"{bounds.slot_bytes / GIGABYTE:.1f} GB (slot_bytes): **its disk may fill up.**\n\n"
            "What to do: let WAL arrive again. Where that takes too long, drop the replication slot `salvor_archive` "
            "there; then the archive has a hole, and needs backup-take with kind `full`."
        )
        found["slot"] = Trouble(title=f"{target}: WAL piles up on {worst.node}", body=body)
    elif worst.kept_bytes <= OVER * bounds.slot_bytes:
        found["slot"] = None
    if view.primary:
        found["unbounded"] = None if view.primary.bounded else _unbounded(target, view.primary.node, bounds)
    return found


def _unbounded(target: str, node: str, bounds: Bounds) -> Trouble:
    body = (
        f"max_slot_wal_keep_size is -1 on {node}: when the archive is dead, WAL is kept for it until the disk is full "
        f"and the primary stops. Set it, above {bounds.slot_bytes / GIGABYTE:.0f} GB (slot_bytes) and below what the "
        "disk has room for. Past it PostgreSQL gives the slot up, and the archive has a hole."
    )
    return Trouble(title=f"{target}: nothing bounds the WAL that is kept for the archive", body=body, urgency="inform")


def of_hole(target: str, hole: tuple[int, int] | None, *, known: bool) -> Troubles:
    """Say whether WAL is missing between the newest good set and now; KNOWN: that could be seen."""
    if not known:
        return {}
    if hole is None:
        return {"hole": None}
    body = (
        f"{hole[1] - hole[0] - 1} files of WAL are missing after the newest good set: **what was written since cannot "
        "be restored.**\n\n"
        "What to do: run backup-take with kind `full`; from there on everything can be restored again."
    )
    return {"hole": Trouble(title=f"{target}: the WAL archive has a hole", body=body)}


def of_sets(target: str, kept: Kept, now: AwareDatetime, bounds: Bounds) -> Troubles:
    """Say whether the newest good set is too old."""
    last = kept.newest_at
    late = now - (last or kept.known_since) > timedelta(days=bounds.set_days)
    if not late:
        return {"sets": None} if last else {}
    said = f"The newest good set is of {last:%Y-%m-%d %H:%M} UTC" if last else "There is no good set"
    body = (
        f"{said}, and one is wanted every {bounds.set_days:g} days (set_days). A recovery replays all WAL since, or "
        "there is none.\n\n"
        "What to do: run backup-take and read what it says; look whether its nightly schedule is active (`make down "
        "up` makes one for each repository)."
    )
    return {"sets": Trouble(title=f"{target}: no good backup for too long", body=body)}


def of_drills(target: str, kept: Kept, now: AwareDatetime, bounds: Bounds) -> Troubles:
    """Say whether too much time has passed since a drill passed."""
    if not kept.drills:
        return {}
    last = kept.passed_at
    since = last or kept.practised_since or kept.known_since
    if now - since <= timedelta(days=bounds.drill_days):
        return {"drills": None} if last else {}
    said = f"The last drill that passed was on {last:%Y-%m-%d %H:%M} UTC" if last else "No drill has passed"
    body = (
        f"{said}, and one is wanted every {bounds.drill_days:g} days (drill_days). Whether the backups can be restored "
        "is not known.\n\n"
        "What to do: run backup-drill and read what it says; look whether its nightly schedule is active."
    )
    return {"drills": Trouble(title=f"{target}: backup drills are overdue", body=body)}
