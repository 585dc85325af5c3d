"""A disaster: the only server is killed and its data are gone; ours beside a bare restore and recovery."""

from __future__ import annotations

import time
from statistics import median

from tests.lab import schema
from tests.lab.app import App
from tests.lab.bench_backup_stage import Stage, load
from tests.lab.bench_backup_take import held_against
from tests.lab.bench_rows import Row
from tests.lab.processes import wait_until
from tests.lab.records import record
from tests.lab.tally import Tally

RESTORING = ("fetch-set", "put-in-place", "recover")
#: So long the shop writes between the backup and the disaster.
WRITES_SECONDS = 5.0
TIMES, VERIFIED_SECONDS, PROTECTED_SECONDS = 1.3, 6.0, 10.0


def disaster(stage: Stage, runs: int) -> list[Row]:
    """Lose everything but the backup, and bring it back, again and again."""
    restore = Row("restore", "copy, prepare and recover a set; floor: cp -a, start and recovery")
    writable = Row("writable", "from the run's begin to the first order; floor: the same")
    verified, protected = Row("verified", "from writable on"), Row("protected", "from verified on")
    copies, accounts = [], []
    stage.run("backup-take", kind="full", expire=False)
    stage.forget_older()
    for _ in range(runs):
        schema.demand_archive(stage.node, [])
        wait_until(lambda: stage.node.psql(schema.ARCHIVE_CONFIRMS), 30, "the archive to confirm commits")
        with App(stage.lab) as app:
            app.await_writes(20)
            time.sleep(WRITES_SECONDS)
            record(stage.ledger, "recovery.postgres.orders", stage.lab)
            stage.lab.destroy_all("n1")
            made = stage.newest()
            copies.append(stage.copied(made / "data"))
            stage.clear()
            restore.floor.append(stage.restored(made))
            ran = stage.run("disaster-recover", approval="auto")
            app.await_writes(20)
            accounts.append(app.summary())
        restore.ours.append(ran.took(*RESTORING))
        restore.phases.append({name: ran.took(name) for name in RESTORING})
        _note(writable, accounts[-1].outage_ended - ran.begun, ran.phases)
        ends = [ran.figures[f"rto_{name}_seconds"] for name in ("writable", "verified", "protected")]
        _note(verified, ends[1] - ends[0], {})
        _note(protected, ends[2] - ends[1], {})
        stage.forget_older()
    held_against(restore, copies)
    restore.loads, writable.floor = writable.loads, restore.floor
    lost = {"lost_rows": sum(each.lost for each in accounts), "duplicated_rows": _doubled(accounts)}
    writable.facts |= lost | {"acknowledged_rows": sum(each.acknowledged for each in accounts)}
    writable.must("times the bare restore and recovery", writable.figure / median(writable.floor), TIMES)
    verified.must("s", verified.figure, VERIFIED_SECONDS)
    protected.must("s", protected.figure, PROTECTED_SECONDS)
    return [restore, writable, verified, protected]


def _doubled(accounts: list[Tally]) -> int:
    return sum(each.duplicated for each in accounts)


def _note(row: Row, seconds: float, phases: dict[str, float]) -> None:
    row.ours.append(seconds)
    row.phases.append(phases)
    row.loads.append(load())
