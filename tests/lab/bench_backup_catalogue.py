"""A repository with ten thousand sets: reading it, choosing from it, planning what expires."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from blocks.backup_listing import sealed, wal_name
from blocks.backup_records import BackupSet, Fact, Kind, set_name
from blocks.backup_repository import BackupRepository
from blocks.native_backup import SEGMENT_BYTES, NativeRepository
from tasks.backups.policies import TargetPolicy
from tasks.backups.retention import plan_retention
from tasks.backups.survey import survey
from tests.lab.bench_backup_stage import Stage, load
from tests.lab.bench_rows import Row

SETS, FULL_EVERY, SEGMENTS_EACH, TABLES = 10_000, 7, 2, 20
#: What is no part of a record.
FOUND = {"bad", "verified_at", "offsite", "in_use"}
KEEP_DAYS, KEEP_FULLS = 30.0, 2
REACH_SECONDS = 1.0


def catalogue(stage: Stage, runs: int) -> list[Row]:
    """Choose the sets for a recovery to the latest moment, and plan the retention."""
    row = Row("catalogue", f"look at {SETS:,} sets, choose, plan what expires; without what is in them")
    folder = stage.root / "catalogue"
    try:
        (folder / "sets").mkdir(parents=True)
        _fill(folder)
        block = BackupRepository(directory=str(folder), bin_directory=str(stage.node.bin))
        repository = NativeRepository(block)
        for _ in range(runs):
            _measure(repository, row)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    row.must("s", row.figure, REACH_SECONDS)
    return [row]


def _measure(repository: NativeRepository, row: Row) -> None:
    marks = [time.monotonic()]
    listing = repository.look()
    marks.append(time.monotonic())
    chosen = survey(listing, TargetPolicy(), 1)
    marks.append(time.monotonic())
    planned = plan_retention(listing.sets, datetime.now(UTC), KEEP_DAYS, KEEP_FULLS)
    marks.append(time.monotonic())
    if isinstance(chosen, str) or len(listing.sets) != SETS or not planned.expire:
        raise RuntimeError(f"This is no catalogue of {SETS} sets: {chosen}")
    look, choose, plan = (after - before for before, after in pairwise(marks))
    row.ours.append(marks[-1] - marks[0])
    row.phases.append({"look": look, "choose": choose, "plan": plan})
    row.loads.append(load())
    row.facts |= {"sets_that_expire": len(planned.expire), "files_of_wal": len(listing.archive.files)}


def _fill(folder: Path) -> None:
    """Make a repository as hourly sets leave it, without what is in them."""
    stream = folder / "wal" / "20250101T000000Z"
    stream.mkdir(parents=True)
    (folder / "system").write_text("1\n")
    begin, parent = datetime.now(UTC) - timedelta(hours=SETS), ""
    for number in range(SETS):
        kind: Kind = "full" if number % FULL_EVERY == 0 else "incremental"
        made = _made(begin + timedelta(hours=number), kind, "" if kind == "full" else parent, number)
        parent = made.id
        home = folder / "sets" / made.id
        home.mkdir()
        (home / "set.json").write_text(sealed(made.model_dump_json(exclude=FOUND | {"facts"})) + "\n")
        (home / "facts.json").write_text(sealed(made.model_dump_json(include={"id", "facts"})) + "\n")
        (home / "verified").write_text(f"{made.ended_at:%Y-%m-%dT%H:%M:%SZ}\n")
        for position in range(made.start_lsn, made.start_lsn + SEGMENTS_EACH * SEGMENT_BYTES, SEGMENT_BYTES):
            with (stream / wal_name(1, position, SEGMENT_BYTES)).open("wb") as file:
                file.truncate(SEGMENT_BYTES)


def _made(at: datetime, kind: Kind, parent: str, number: int) -> BackupSet:
    start = (1 + number * SEGMENTS_EACH) * SEGMENT_BYTES
    return BackupSet(
        id=set_name(kind, at),
        kind=kind,
        parent=parent,
        system_identifier="1",
        major=18,
        timeline=1,
        start_lsn=start,
        end_lsn=start + SEGMENT_BYTES // 2,
        began_at=at,
        ended_at=at + timedelta(minutes=1),
        bytes=2**31,
        restored_bytes=2**31,
        manifest_sha256="0" * 64,
        restore_point=f"salvor-{number}",
        facts=tuple(Fact(name=f"shop.public.table_{n}", before=n, after=n) for n in range(TABLES)),
    )
