"""Go through the rows to be repaired in small batches, each a transaction of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg import sql

from blocks.app_database import AppDatabase, Connection
from blocks.errors import Transient
from blocks.ledger.findings import Key
from blocks.live_catalog import Catalog
from blocks.postgres_session import StatementRefused
from tasks.consistency import stores
from tasks.consistency.changes import Batch, change
from tasks.consistency.checks import Check
from tasks.consistency.phrases import all_of
from tasks.consistency.repair_state import Account
from tasks.consistency.throttle import FIRST, next_size

#: How often in vain the rows are come back to that somebody else has locked.
ROUNDS = 5
PAUSE_SECONDS = 0.2
#: Batches in a row that may be given up (for a lock, a time-out) before the rest is left.
FAILURES = 25
#: Rows of a rule that the database may refuse one by one (by a constraint, a trigger) before the rest is left.
REFUSALS = 100
LOCKED = "somebody else held a lock on it all the while"


@dataclass
class Work:
    """The rows of one rule that are still to be done."""

    check: Check
    keys: deque[Key]
    found: int
    later: deque[Key] = field(default_factory=deque)  #: locked by somebody else just now
    not_yet: list[Key] = field(default_factory=list)  #: not wrong when they were looked at; followers become it
    size: int = FIRST
    refused: int = 0


@dataclass(frozen=True)
class Writer:
    """Who writes, where, and under which lease."""

    database: AppDatabase
    connection: Connection
    run_id: str
    target: str
    token: int
    catalog: Catalog
    target_ms: float


Admit = Callable[[], str]
Tell = Callable[[str, int], None]


def repaired(writer: Writer, works: list[Work], admit: Admit, tell: Tell) -> str:
    """Repair all of it, rule by rule, as long as ADMIT lets each batch through; say why it stopped, if it did."""
    for work in works:
        with writer.database.written(writer.connection):
            stores.note(writer.connection, writer.run_id, Account(rule=work.check.rule.name, found=work.found))
    stopped, in_vain = "", 0
    while not stopped:
        before = sum(len(work.keys) for work in works)
        for work in works:
            stopped = stopped or _through(writer, work, admit, tell)
        locked, left = any(work.later for work in works), sum(len(work.later) + len(work.not_yet) for work in works)
        in_vain = in_vain + 1 if left == before else 0
        if not left or in_vain >= (ROUNDS if locked else 1):
            break
        time.sleep(PAUSE_SECONDS if in_vain else 0)
        _again(works)
    for work in works:
        _settle_rest(writer, work, stopped)
    return stopped


def _again(works: list[Work]) -> None:
    for work in works:
        work.keys.extend(work.later)
        work.keys.extend(work.not_yet)
        work.later.clear()
        work.not_yet.clear()


def _through(writer: Writer, work: Work, admit: Admit, tell: Tell) -> str:
    failures = 0
    while work.keys:
        if stopped := admit():
            return stopped
        keys = [work.keys.popleft() for _ in range(min(work.size, len(work.keys)))]
        began = time.monotonic()
        try:
            _batch(writer, work, keys)
        except Transient as error:
            work.keys.extendleft(reversed(keys))
            work.size, failures = max(1, work.size // 2), failures + 1
            if failures >= FAILURES:
                return f"{failures} batches in a row were given up: {error}"
            time.sleep(PAUSE_SECONDS)
            continue
        except StatementRefused as error:
            if work.refused >= REFUSALS:
                raise
            _refused(writer, work, keys, error)
            continue
        failures = 0
        work.size = next_size(work.size, (time.monotonic() - began) * 1000, writer.target_ms)
        tell(work.check.rule.name, len(keys))
    return ""


def _refused(writer: Writer, work: Work, keys: list[Key], error: StatementRefused) -> None:
    """Find out which row it is, by halves, and leave that one."""
    if len(keys) > 1:
        work.keys.extendleft(reversed(keys))
        work.size = len(keys) // 2
        return
    work.refused += 1
    rule = work.check.rule.name
    with writer.database.written(writer.connection):
        stores.note(writer.connection, writer.run_id, Account(rule=rule, skipped=1, why=(str(error),)))


def _batch(writer: Writer, work: Work, keys: list[Key]) -> None:
    table, wrong = work.check.table, work.check.wrong
    assert table is not None  # noqa: S101 - only rules about rows come here
    batch = Batch(writer.run_id, work.check, table, writer.catalog, wrong or all_of([sql.SQL("true")]))
    with writer.database.written(writer.connection):
        stores.settle(writer.connection)
        stores.hold(writer.connection, writer.target, writer.token)
        outcome = change(writer.connection, batch, keys)
        stores.note(writer.connection, writer.run_id, outcome.account)
    work.later.extend(outcome.locked)
    work.not_yet.extend(outcome.right)


def _settle_rest(writer: Writer, work: Work, stopped: str) -> None:
    left = len(work.keys) + len(work.later)
    why = [f"it was stopped, because {stopped}"] if left and stopped else [LOCKED] if left else []
    rest = Account(rule=work.check.rule.name, meanwhile=len(work.not_yet), skipped=left, why=tuple(why))
    with writer.database.written(writer.connection):
        stores.note(writer.connection, writer.run_id, rest)
