"""Constraints that keep new wrong rows out: added without making writers wait, proved at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from psycopg import sql

from blocks.app_database import AppDatabase, Connection
from blocks.errors import SalvorError, Transient
from blocks.postgres_session import StatementRefused
from tasks.consistency import stores
from tasks.consistency.checks import Check, Fence

#: Each attempt makes writers wait at most LOCK_MS; between two they go on.
ATTEMPTS = 40
PAUSE_SECONDS = 0.5
_INVALID = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
_CONSTRAINT = "SELECT convalidated FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)"


def raised(database: AppDatabase, check: Check, run_id: str) -> str:
    """Add what holds for new rows only; say how it went. What cannot be added now is left for the next run."""
    fence = check.fence
    if fence is None or fence.before is None:
        return ""
    statement = fence.before

    def add() -> None:
        with database.writing() as connection:
            stores.settle(connection)
            connection.execute(statement)
            remove = fence.remove.as_string(connection)
            values = {"run_id": run_id, "rule": check.rule.name, "name": fence.name, "kind": fence.kind}
            stores.run(connection, "fence", values | {"remove": remove})

    return _tried(add, f"{fence.kind} {fence.name} (not yet proved)")


def proved(database: AppDatabase, check: Check, run_id: str) -> str:
    """Prove it for every row, or build it; no writer waits."""
    fence = check.fence
    if fence is None or fence.after is None:
        return ""
    if fence.kind == "unique index":
        return _tried(lambda: _built(database, check, fence, run_id), f"unique index {fence.name}")
    statement = fence.after

    def prove() -> None:
        with database.writing() as connection:
            stores.settle(connection, statement_ms=database.statement_seconds * 1000)
            connection.execute(statement)

    return _tried(prove, f"foreign key {fence.name} holds for every row")


def _built(database: AppDatabase, check: Check, fence: Fence, run_id: str) -> None:
    assert check.table is not None  # noqa: S101 - an index has a table
    assert fence.after is not None  # noqa: S101 - who calls this has looked
    where = sql.Identifier(check.table.schema, fence.name).as_string()
    with database.outside() as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(stores.LOCK_MS)])
        found = connection.execute(_INVALID, [where]).fetchall()
        if found == [(False,)]:
            return
        if found:  # left behind by a run that died in it, or by rows that were double
            connection.execute(fence.remove)
        remove = fence.remove.as_string(connection)
        values = {"run_id": run_id, "rule": check.rule.name, "name": fence.name, "kind": fence.kind}
        stores.run(connection, "fence", values | {"remove": remove})
        built = False
        try:
            connection.execute(fence.after)
            built = True
        finally:
            if not built:  # an invalid index only costs writers time
                connection.execute(fence.remove)


def lowered(database: AppDatabase, kind: str, remove: str) -> tuple[bool, str]:
    """Take away what a run had added; whether it is gone, and how it went."""

    def drop() -> None:
        if kind == "unique index":
            with database.outside() as connection:
                connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(stores.LOCK_MS)])
                connection.execute(remove.encode())
            return
        with database.writing() as connection:
            stores.settle(connection)
            connection.execute(remove.encode())

    said = _tried(drop, remove)
    return said == remove, said


def holds(connection: Connection, check: Check) -> bool:
    """Whether the fence of a check is there and proved for every row."""
    fence, table = check.fence, check.table
    if fence is None or table is None:
        return True  # compiled anew there is none to add: it is there
    if fence.kind == "unique index":
        where = sql.Identifier(table.schema, fence.name).as_string()
        return connection.execute(_INVALID, [where]).fetchall() == [(False,)]
    return connection.execute(_CONSTRAINT, [fence.name, table.identifier.as_string()]).fetchall() == [(True,)]


def _tried(work: Callable[[], None], what: str) -> str:
    for attempt in range(ATTEMPTS):
        try:
            work()
        except Transient as error:
            if attempt == ATTEMPTS - 1:
                return f"{what}: not now ({error}) - {ATTEMPTS} times somebody held a lock; run this again"
            time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        except StatementRefused as error:
            return f"{what}: refused ({error})"
        else:
            return what
    raise SalvorError("unreachable")
