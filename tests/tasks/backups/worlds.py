"""Repositories and clusters made of words, for the tests of pure code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.backup_records import Archive, BackupSet, Branch, Fact, Listing, Receiver, WalFile, WalProof
from tasks.backups.state import Place, Recorded, View

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SIZE = 16 * 2**20  #: of a segment of WAL
GIGABYTE = 2**30
MEGABYTES = 2**20
SYSTEM = "77"
STREAMS = Receiver(alive=True, silence_seconds=1.0)
DEAD = Receiver(alive=False, silence_seconds=7200.0)


def at(segment: float) -> int:
    """Give the position SEGMENT segments into the WAL."""
    return int(segment * SIZE)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def a_set(name: str = "s1", segment: float = 2, *, days: float = 1, parent: str = "", **given: Any) -> BackupSet:
    """Keep a set that was begun in SEGMENT, DAYS ago; good unless told otherwise."""
    ended = ago(days)
    said = {
        "id": name,
        "kind": "incremental" if parent else "full",
        "parent": parent,
        "system_identifier": SYSTEM,
        "major": 18,
        "timeline": 1,
        "start_lsn": at(segment) + 40,
        "end_lsn": at(segment) + 288,
        "began_at": ended - timedelta(minutes=1),
        "ended_at": ended,
        "bytes": GIGABYTE,
        "restored_bytes": GIGABYTE,
        "manifest_sha256": "0" * 64,
        "verified_at": ended,
        "facts": (Fact(name="orders.public.orders", before=10, after=12),),
    }
    return BackupSet(**said | given)


def wal(first: int, last: int, timeline: int = 1, *, without: tuple[int, ...] = ()) -> tuple[WalFile, ...]:
    """Archive the segments FIRST to LAST of a timeline; the last is still written."""
    numbers = [number for number in range(first, last + 1) if number not in without]
    return tuple(WalFile(timeline=timeline, number=n, partial=n == last) for n in numbers)


def fork(timeline: int, segment: float, parent: int = 1) -> Branch:
    return Branch(timeline=timeline, parent=parent, lsn=at(segment))


def listing(*sets: BackupSet, files: tuple[WalFile, ...] | None = None, **given: Any) -> Listing:
    branches = given.pop("branches", ())
    archive = Archive(
        files=wal(1, 9) if files is None else files, branches=branches, receiver=given.pop("receiver", STREAMS)
    )
    said = {"system_identifier": SYSTEM, "sets": sets, "archive": archive, "free_bytes": 100 * GIGABYTE}
    return Listing(**said | given)


def proof(segment: float = 9.5, *, minutes: float | None = 1, **given: Any) -> WalProof:
    """Read WAL up to SEGMENT, whose last commit was MINUTES ago."""
    commit = None if minutes is None else NOW - timedelta(minutes=minutes)
    said = {"timeline": 1, "start_lsn": at(2), "last_record": at(segment), "end_lsn": at(segment) + 40}
    return WalProof(**said | {"last_commit": commit} | given)


def primary(name: str = "n1", **given: Any) -> Place:
    said = {"answers": True, "primary": True, "lsn": at(9.5), "summaries": True, "bytes": GIGABYTE, "processes": 9}
    return gone(name, **said | {"directory": "present"} | given)


def standby(name: str = "n2", **given: Any) -> Place:
    return primary(name, **{"primary": False, "standby_signal": True} | given)


def down(name: str = "n1", **given: Any) -> Place:
    """See a node whose server is dead and whose directory is there."""
    return gone(name, **{"directory": "present"} | given)


def gone(name: str = "n1", **given: Any) -> Place:
    """See a node whose host is there, and nothing else."""
    said = {
        "name": name,
        "answers": False,
        "timeline": 1,
        "system_identifier": SYSTEM,
        "reachable": True,
        "directory": "missing",
        "major": 18,
        "free_bytes": 100 * GIGABYTE,
        "sees_repository": True,
    }
    return Place(**said | given)


def recorded(node: str = "n1", segment: float = 9.5, *, timeline: int = 1) -> Recorded:
    return Recorded(node=node, lsn=at(segment) + 40, timeline=timeline, at=NOW - timedelta(seconds=5))


def view(*places: Place, kept: Listing | None = None, **given: Any) -> View:
    said = {
        "resource": "recovery.postgres.orders",
        "target": "orders",
        "at": NOW,
        "places": places or (primary(),),
        "listing": listing(a_set()) if kept is None else kept,
        "proofs": (proof(),),
        "recorded": recorded(),
    }
    return View(**said | given)
