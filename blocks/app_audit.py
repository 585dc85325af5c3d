"""What Salvor changed in an application's database: old and new value of every field, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from blocks.app_database import AppDatabase, Connection
from blocks.app_tables import AppTable, SyncedTable

AUDIT = sql.Identifier("salvor", "stripe_changes")
_EXISTS = "SELECT to_regclass('salvor.stripe_changes') IS NOT NULL"
_MAKE = """
CREATE SCHEMA IF NOT EXISTS salvor;
CREATE TABLE IF NOT EXISTS salvor.stripe_changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    table_name text NOT NULL,
    row_id text NOT NULL,
    operation text NOT NULL,
    before jsonb,
    after jsonb,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS stripe_changes_run ON salvor.stripe_changes (run_id, table_name);
"""
#: The row as the run left it, and as it was before.
_STANDS, _BACK = "{now} IS NOT DISTINCT FROM c.after", "{now} IS NOT DISTINCT FROM c.before"
_LOOK = """
SELECT c.row_id, {stands}, {back}
FROM {audit} c LEFT JOIN {table} t ON t.{id}::text = c.row_id
WHERE c.run_id = %(run)s AND c.table_name = %(table)s ORDER BY c.number
"""
_GIVE_BACK = """
WITH held AS MATERIALIZED (
    SELECT t.{id} AS id, c.operation, c.before, c.after FROM {audit} c JOIN {table} t ON t.{id}::text = c.row_id
    WHERE c.run_id = %(run)s AND c.table_name = %(table)s AND {stands} FOR UPDATE OF t
), restored AS (
    UPDATE {table} t SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::{table}, h.before))
    FROM held h WHERE t.{id} = h.id AND h.operation <> 'insert' RETURNING t.{id}::text AS id
), removed AS (
    DELETE FROM {table} t USING held h WHERE t.{id} = h.id AND h.operation = 'insert' RETURNING t.{id}::text AS id
)
INSERT INTO {audit} (run_id, table_name, row_id, operation, before, after)
SELECT %(by)s, %(table)s, h.id::text, 'undo', h.after, h.before
FROM held h WHERE h.id::text IN (SELECT id FROM restored UNION ALL SELECT id FROM removed)
"""


def exists(connection: Connection) -> bool:
    """Whether there is an audit."""
    row = connection.execute(_EXISTS).fetchone()
    return bool(row and row[0])


def make(connection: Connection) -> None:
    """Make the audit unless it is there."""
    if not exists(connection):
        connection.execute(_MAKE)


def as_json(table: AppTable, fields: Sequence[str]) -> sql.Composed:
    """Write what is kept of a row `t`: its fields by column, and what Salvor notes in it."""
    pairs = [sql.SQL("{}, t.{}").format(sql.Literal(name), sql.Identifier(name)) for name in kept(table, fields)]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def kept(table: AppTable, fields: Sequence[str]) -> list[str]:
    """Name the columns of which old and new value are kept."""
    notes = ("observed_at", "deleted_at") if isinstance(table, SyncedTable) else ()
    columns = table.columns()
    return [columns[field] for field in (*fields, *notes)]


class Audited:
    """What was changed in one table."""

    def __init__(self, database: AppDatabase, name: str, fields: Sequence[str]) -> None:
        """Speak of FIELDS of the table NAME."""
        self.database, self.name, self.mapping = database, name, database.table(name)
        self.fields = tuple(field for field in fields if field in self.mapping.columns())

    def look(self, connection: Connection, run_id: str) -> list[tuple[str, bool, bool]]:
        """Say of every row that a run changed whether it is as the run left it, and whether it is as it was before."""
        return connection.execute(self._filled(_LOOK), self._given(run_id)).fetchall()

    def give_back(self, connection: Connection, run_id: str, by: str) -> int:
        """Bring back every row that is still as the run left it, and note that BY did."""
        return connection.execute(self._filled(_GIVE_BACK), self._given(run_id) | {"by": by}).rowcount

    def _given(self, run_id: str) -> dict[str, Any]:
        return {"run": run_id, "table": self.name}

    def _filled(self, statement: str) -> sql.Composed:
        row, key = as_json(self.mapping, self.fields), sql.Identifier(self.mapping.columns()["id"])
        now = sql.SQL("(CASE WHEN t.{} IS NOT NULL THEN {} END)").format(key, row)
        names = [sql.Identifier(name) for name in kept(self.mapping, self.fields)]
        return sql.SQL(statement).format(
            id=key,
            audit=AUDIT,
            table=self.database.identifier(self.mapping),
            columns=sql.SQL(", ").join(names),
            stands=sql.SQL(_STANDS).format(now=now),
            back=sql.SQL(_BACK).format(now=now),
        )


def count(connection: Connection, run_id: str) -> int:
    """Count what a run changed."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE run_id = %s").format(AUDIT)
    row = connection.execute(query, [run_id]).fetchone()
    return int(row[0]) if row else 0
