"""Taking a backup: ours beside pg_basebackup alone and beside cp of the data directory."""

from __future__ import annotations

from statistics import median

from tests.lab.bench_backup_stage import DATABASE, Stage, load
from tests.lab.bench_rows import Row

CHANGED = 1_000
CHANGE = f"""
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN (
    SELECT 1 + (random() * (SELECT max(aid) - 1 FROM pgbench_accounts))::int FROM generate_series(1, {CHANGED})
)
"""
TIMES, SPARE_SECONDS = 1.15, 2.0
SMALLER = 0.5


def take(stage: Stage, runs: int) -> list[Row]:
    """Keep a full set, change some rows, and keep an incremental one on top of it."""
    full = Row("full", "a full backup, proven; floor: pg_basebackup")
    more = Row("incremental", f"after {CHANGED:,} changed rows; floor: pg_basebackup --incremental")
    copies: list[float] = []
    for _ in range(runs):
        copies.append(stage.copied(stage.node.data))
        full.floor.append(stage.based())
        ran = stage.run("backup-take", kind="full", expire=False)
        _note(full, ran.acts, ran.phases)
        made = stage.newest()
        stage.node.psql(CHANGE, DATABASE, seconds=60)
        more.floor.append(stage.based(made))
        ran = stage.run("backup-take", kind="incremental", expire=False)
        _note(more, ran.acts, ran.phases)
        more.facts["megabytes_of_full_and_incremental"] = stage.megabytes()[-2:]
        stage.forget_older(2)
    stage.clear()
    held_against(full, copies)
    more.facts["times_cp"] = round(more.figure / median(copies), 2)
    more.must("times our full one", more.figure / full.figure, SMALLER)
    return [full, more]


def held_against(row: Row, copies: list[float]) -> None:
    """Compare a row with the bare engine, and with cp."""
    row.facts |= {"cp_seconds": round(median(copies), 2), "times_cp": round(row.figure / median(copies), 2)}
    row.must(f"s beyond {TIMES} x the bare engine", row.figure - TIMES * median(row.floor), SPARE_SECONDS)


def _note(row: Row, seconds: float, phases: dict[str, float]) -> None:
    row.ours.append(seconds)
    row.phases.append(phases)
    row.loads.append(load())
