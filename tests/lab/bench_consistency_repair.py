"""The writing half of the consistency bench: how long a repair takes, and what the application waits meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from tests.lab.bench_consistency_naive import DELETE, FENCE, LONG_SECONDS, SYNC, long_transaction, one_statement
from tests.lab.bench_consistency_stage import FENCED, ORPHANS, STATUSES, Ran, Stage, Waits, load
from tests.lab.bench_rows import Row

T = TypeVar("T")
GIVE_UP_SECONDS = 60
WANTS_LOCK = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"
VALID = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'payments'::regclass AND contype = 'f' AND convalidated"
LEFT = "SELECT count(*) FROM payments p WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.user_id)"
OUT_OF_STEP = """
SELECT count(*) FROM users u JOIN subscriptions s ON s.id = u.subscription_id
WHERE s.status <> u.subscription_status
"""


def orphans(stage: Stage, runs: int) -> list[Row]:
    """Set the orphans aside, while the application writes."""
    what = f"set {5 * stage.lost:,} orphans of {5 * stage.users:,} rows aside, online"
    time_row, wait = Row("repair", what), _waited("repair_wait", "one DELETE")
    for _ in range(runs):
        seconds, waits = _naive(stage, lambda: one_statement(stage, DELETE))
        time_row.floor.append(seconds)
        ran, ours = _ours(stage, ORPHANS)
        _must_be_none(stage, LEFT)
        time_row.ours.append(ran.repaired_seconds)
        time_row.phases.append(ran.phases)
        _note(wait, ours, waits)
        time_row.loads.append(load())
    time_row.facts |= {"whole_run_seconds": round(ran.seconds, 2), "peak_mb": round(ran.peak_mb)}
    time_row.must("times one DELETE", time_row.figure / median(time_row.floor), 1.3)
    wait.must("ms", wait.figure, 60)
    return [time_row, wait]


def reconcile(stage: Stage, runs: int) -> list[Row]:
    """Bring the statuses of users to what their subscriptions say, while the application writes."""
    row = _waited("reconcile_wait", f"one UPDATE of {stage.users:,} statuses")
    for _ in range(runs):
        seconds, waits = _naive(stage, lambda: one_statement(stage, SYNC))
        ran, ours = _ours(stage, STATUSES)
        _must_be_none(stage, OUT_OF_STEP)
        _note(row, ours, waits)
    row.facts |= {"seconds": round(ran.repaired_seconds, 2), "seconds_of_one_update": round(seconds, 2)}
    row.must("ms", row.figure, 100)
    return [row]


def fence(stage: Stage, runs: int) -> list[Row]:
    """Add a foreign key behind a transaction that has written and does not end."""
    row = _waited("fence_wait", f"a plain foreign key, behind a transaction of {LONG_SECONDS:.0f} s")
    for _ in range(runs):
        _, waits = _naive(stage, lambda: _behind(stage, lambda: one_statement(stage, FENCE)), repaired=True)
        ran, ours = _ours(stage, FENCED, lambda act: _behind(stage, act))
        if stage.sql(VALID) != [(1,)]:
            raise RuntimeError("There is no valid foreign key.")
        _note(row, ours, waits)
    row.facts["whole_run_seconds"] = round(ran.seconds, 1)
    row.must("ms", row.figure, 250)
    return [row]


def _waited(key: str, naive: str) -> Row:
    return Row(key, f"worst wait of a writer; naive: {naive}", "ms")


def _note(row: Row, ours: Waits, naive: Waits) -> None:
    row.ours.append(ours.worst_ms)
    row.loads.append(load())
    row.naive = max(row.naive, naive.worst_ms)
    row.facts["p99_ms"] = round(ours.p99_ms, 1)
    row.facts["naive_p99_ms"] = round(naive.p99_ms, 1)
    row.facts["writes"] = len(ours.all)


def _naive(stage: Stage, act: Callable[[], float], *, repaired: bool = False) -> tuple[float, Waits]:
    stage.begin_again()
    wrong = stage.wrong()
    if repaired:
        stage.sql(DELETE)
    with stage.written(wrong) as waits:
        seconds = act()
    return seconds, waits


def _ours(stage: Stage, rule: str, around: Callable[[Callable[[], Ran]], Ran] = lambda act: act()) -> tuple[Ran, Waits]:
    stage.begin_again()
    with stage.written(stage.wrong()) as waits:
        ran = around(lambda: stage.run("consistency-repair", rules=[rule], **stage.repairing))
    return ran, waits


def _behind(stage: Stage, act: Callable[[], T]) -> T:
    """Let a transaction end only some seconds after somebody began to wait for it."""
    with long_transaction(stage, "users") as end:
        waiting = threading.Thread(target=lambda: _end_later(stage, end))
        waiting.start()
        try:
            return act()
        finally:
            waiting.join()


def _end_later(stage: Stage, end: Callable[[], None]) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not stage.admin(WANTS_LOCK) and time.monotonic() < give_up:
        time.sleep(0.02)
    time.sleep(LONG_SECONDS)
    end()


def _must_be_none(stage: Stage, query: str) -> None:
    left = stage.sql(query)[0][0]
    if left:
        raise RuntimeError(f"{left} wrong rows are left.")
