"""Find the wrong rows: one look at one moment of the database, that keeps nobody waiting and nothing in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from blocks.app_database import Connection
from tasks.consistency.checks import Check
from tasks.consistency.state import SAMPLES, Finding

# A sort or a hash of millions of keys fits into 64 MB; row security must not hide rows without a word.
_SETTINGS = (
    "SELECT set_config('work_mem', '64MB', true), set_config('row_security', 'off', true),"
    " set_config('max_parallel_workers_per_gather', '2', true), set_config('lock_timeout', '5s', true)"
)
SAMPLE_CHARACTERS = 300
CORRUPTION = (psycopg.errors.IndexCorrupted, psycopg.errors.DataCorrupted, psycopg.errors.InternalError_)

Say = Callable[[str, float], None]


@dataclass
class Found:
    """What one rule found, with the rows that are kept."""

    check: Check
    finding: Finding
    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)


def look(connection: Connection, checks: list[Check], most: int, say: Say) -> Iterator[Found]:
    """Look with every check in turn; at most MOST rows of each are kept, and all are counted."""
    connection.execute(_SETTINGS)
    weights = [max(1.0, check.table.bytes if check.table else 1.0) for check in checks]
    for place, check in enumerate(checks):
        say(f"Looking for: {check.rule.name}", 5 + 85 * sum(weights[:place]) / sum(weights))
        yield _looked(connection, check, most)


def _looked(connection: Connection, check: Check, most: int) -> Found:
    began, table = time.monotonic(), check.table
    found = Found(check, Finding(rule=check.rule.name, kind=check.rule.kind))
    count, unseen = 0, ""
    try:
        with connection.transaction():
            for key, evidence in _rows(connection, check):
                count += 1
                if len(found.rows) < most:
                    found.rows.append((key, evidence))
    except psycopg.Error as error:
        unseen = _said(error)
        found.rows.clear()  # what was read before is not what there is
    found.finding = Finding(
        rule=check.rule.name,
        kind=check.rule.kind,
        table=table.label if table else "",
        repair=check.rule.repair,
        found=0 if unseen else count,
        kept=len(found.rows),
        samples=tuple(_sample(*row) for row in found.rows[:SAMPLES]),
        seconds=round(time.monotonic() - began, 3),
        rows=max(0.0, table.rows) if table else 0.0,
        notes=check.notes,
        unseen=unseen,
    )
    return found


def _rows(connection: Connection, check: Check) -> Iterator[tuple[tuple[str, ...], str]]:
    if check.alone is not None:
        _one_statement(connection, check)
    # COPY, because a cursor would forbid the planner its parallel workers, and a result would be held in memory.
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(check.find)) as copy:
        rows = ((tuple(map(str, row[:-1])), str(row[-1])) for row in copy.rows())
        if check.each is None:
            yield from rows
            return
        things = list(rows)
    for (name,), label in things:
        yield from _examined(connection, check.each(name), label)


def _examined(connection: Connection, statement: sql.Composed, label: str) -> Iterator[tuple[tuple[str, ...], str]]:
    try:
        with connection.transaction():
            connection.execute(statement)
    except CORRUPTION as error:
        yield (label,), _said(error)


def _one_statement(connection: Connection, check: Check) -> None:
    # Only the server knows where a statement ends: the extended protocol takes one, and no more.
    assert check.alone is not None  # noqa: S101 - who calls this has looked
    result = connection.pgconn.prepare(b"", check.alone.as_bytes(connection))
    if result.error_message:
        raise psycopg.errors.SyntaxError(result.get_error_message().strip())


def _sample(key: tuple[str, ...], evidence: str) -> str:
    text = f"{', '.join(key)}: {evidence}" if key else evidence
    return text if len(text) <= SAMPLE_CHARACTERS else f"{text[:SAMPLE_CHARACTERS]} …"


def _said(error: psycopg.Error) -> str:
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[0].removeprefix("ERROR:").strip().rstrip(".") + "."
