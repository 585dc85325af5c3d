"""What Salvor keeps in the application's database: tokens, before-images, quarantined rows, progress, fences."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from psycopg import sql

from blocks.app_database import Connection
from blocks.errors import LeaseLost
from blocks.live_catalog import Table
from tasks.consistency.repair_state import Account
from tasks.queries import load

QUERIES = load(Path(__file__).with_name("stores.sql"))
#: A row is told from its later self by a hash of its text, which must not depend on the session.
_SAME_TEXT = (
    "SELECT set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true),"
    " set_config('IntervalStyle', 'postgres', true), set_config('row_security', 'off', true),"
    " set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true),"
    " set_config('idle_in_transaction_session_timeout', '10s', true)"
)
#: Milliseconds that a statement may wait for a lock: whoever comes after it waits as long.
LOCK_MS = 200
STATEMENT_MS = 2000


def run(connection: Connection, name: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Send one of the queries."""
    cursor = connection.execute(QUERIES[name].encode(), values)
    return cursor.fetchall() if cursor.description else []


def exists(connection: Connection) -> bool:
    """Whether there is anything of ours."""
    return bool(run(connection, "exists")[0][0])


def make(connection: Connection) -> None:
    """Make the tables unless they are there."""
    if not exists(connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('salvor.consistency', 0))")
        connection.execute(QUERIES["make"].encode())


def missing_right(connection: Connection) -> str:
    """Say which right is missing to keep what is changed; empty when none is."""
    may, database, user = run(connection, "may")[0]
    if may:
        return ""
    return (
        f"Salvor may not keep before-images in the schema salvor: GRANT CREATE ON DATABASE {database} TO {user}, or,"
        f" when the schema is another's, GRANT CREATE ON SCHEMA salvor and INSERT, UPDATE on its tables."
    )


def settle(connection: Connection, *, statement_ms: int = STATEMENT_MS) -> None:
    """Keep the locks of this transaction short, and its text the same everywhere."""
    connection.execute(_SAME_TEXT, [str(LOCK_MS), str(statement_ms)])


def take(connection: Connection, target: str, token: int) -> None:
    """Show the token of a new run, which every older one must not pass any more."""
    _refuse_older(target, token, run(connection, "take", {"target": target, "token": token})[0][0])


def hold(connection: Connection, target: str, token: int) -> None:
    """Be the only one to write until this transaction ends, or be turned away."""
    found = run(connection, "hold", {"target": target})
    _refuse_older(target, token, found[0][0] if found else token + 1)


def _refuse_older(target: str, token: int, newest: int) -> None:
    if newest != token:
        raise LeaseLost(f"Another run (token {newest}) repairs the rows of {target} now: this one stops here.")


def begin(connection: Connection, run_id: str, goes_on_for: Sequence[str]) -> None:
    """Remember for which runs that died this one goes on, the newest first.

    All of them, because one that died right after its approval has not been here, and would break the line.
    """
    for one, before in pairwise([run_id, *goes_on_for, ""]):
        run(connection, "begin", {"run_id": one, "goes_on_for": before})


def line(connection: Connection, run_id: str) -> list[str]:
    """Give a run, the run that it went on for, and so on: what they changed is given back together."""
    return [found for (found,) in run(connection, "line", {"run_id": run_id})]


def note(connection: Connection, run_id: str, done: Account) -> None:
    """Add to what a run has done for a rule."""
    run(connection, "progress", done.model_dump() | {"run_id": run_id, "why": list(done.why)})


def accounts(connection: Connection, run_id: str) -> dict[str, Account]:
    """Give what a run did, rule by rule."""
    if not exists(connection):
        return {}
    names = list(Account.model_fields)
    rows = [dict(zip(names, row, strict=True)) for row in run(connection, "accounts", {"run_id": run_id})]
    return {row["rule"]: Account(**row | {"why": tuple(row["why"])}) for row in rows}


def quarantine(connection: Connection, table: Table) -> sql.Identifier:
    """Give the quarantine of a table; it has the table's columns as they are now, with their types."""
    name = quarantine_name(table)
    where = sql.Identifier("salvor", name)
    if not connection.execute("SELECT to_regclass(%s) IS NULL", [where.as_string()]).fetchall()[0][0]:
        return where
    statement = sql.SQL(
        "CREATE TABLE {} (salvor_number bigint NOT NULL DEFAULT nextval('salvor.consistency_number') PRIMARY KEY,"
        " salvor_run text NOT NULL, salvor_rule text NOT NULL, salvor_key text[] NOT NULL,"
        " salvor_at timestamptz NOT NULL DEFAULT clock_timestamp(), salvor_undone_by text, LIKE {})"
    ).format(where, table.identifier)
    connection.execute(statement)
    connection.execute(sql.SQL("CREATE INDEX ON {} (salvor_run, salvor_number)").format(where))
    connection.execute(
        "INSERT INTO salvor.consistency_quarantines VALUES (%s, %s, %s)", [name, table.schema, table.name]
    )
    return where


def quarantine_name(table: Table) -> str:
    """Name a quarantine after its table and what columns it has, so that a changed table gets another."""
    shape = repr([table.schema, table.name, [(each.name, each.type) for each in table.columns.values()]])
    return f"quarantine_{table.name[:36]}_{sha256(shape.encode()).hexdigest()[:8]}"
