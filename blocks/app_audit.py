"""What Salvor changed in an application's database: old and new value of every field, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
_MAY = """
SELECT CASE WHEN to_regclass('salvor.stripe_changes') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_table_privilege('salvor.stripe_changes', 'SELECT')
                 AND has_table_privilege('salvor.stripe_changes', 'INSERT') END, current_database(), current_user
"""
#: The row is as the run left it, and as it was before: it has these values, or it is not there.
_STANDS, _BACK = (
    f"CASE WHEN c.{side} IS NULL THEN t.{{id}} IS NULL ELSE t.{{id}} IS NOT NULL AND to_jsonb(t) @> c.{side} END"
    for side in ("after", "before")
)
_LOOK = """
SELECT count(*) FILTER (WHERE stands), count(*) FILTER (WHERE back AND NOT stands),
       count(*) FILTER (WHERE NOT back AND NOT stands),
       coalesce(array_agg(row_id ORDER BY number) FILTER (WHERE NOT back AND NOT stands), '{{}}')
FROM (SELECT c.number, c.row_id, {stands} AS stands, {back} AS back
      FROM {audit} c LEFT JOIN {table} t ON t.{id}::text = c.row_id
      WHERE c.run_id = %(run)s AND c.table_name = %(table)s) each
"""
NAMED = 100
#: What the run added is removed, what it removed (it gave back an addition) is added, the rest gets its old values.
_GIVE_BACK = """
WITH held AS MATERIALIZED (
    SELECT c.row_id, c.before, c.after FROM {audit} c JOIN {table} t ON t.{id}::text = c.row_id
    WHERE c.run_id = %(run)s AND c.table_name = %(table)s AND c.after IS NOT NULL AND {stands} FOR UPDATE OF t
), restored AS (
    UPDATE {table} t SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(t, h.before))
    FROM held h WHERE t.{id}::text = h.row_id AND h.before IS NOT NULL
    RETURNING h.row_id, h.after AS before, h.before AS after
), removed AS (
    DELETE FROM {table} t USING held h WHERE t.{id}::text = h.row_id AND h.before IS NULL
    RETURNING h.row_id, h.after AS before, NULL::jsonb AS after
), added AS (
    INSERT INTO {table} AS t ({added}) SELECT {added} FROM {audit} c, jsonb_populate_record(NULL::{table}, c.before)
    WHERE c.run_id = %(run)s AND c.table_name = %(table)s AND c.after IS NULL ON CONFLICT DO NOTHING
    RETURNING t.{id}::text AS row_id, NULL::jsonb AS before, {whole} AS after
)
INSERT INTO {audit} (run_id, table_name, row_id, operation, before, after)
SELECT %(by)s, %(table)s, row_id, 'undo', before, after
FROM (SELECT * FROM restored UNION ALL SELECT * FROM removed UNION ALL SELECT * FROM added) c
"""


def exists(connection: Connection) -> bool:
    """Whether there is an audit."""
    row = connection.execute(_EXISTS).fetchone()
    return bool(row and row[0])


def missing_right(connection: Connection) -> str:
    """Say which right is missing to keep what is changed; empty when none is."""
    may, database, user = connection.execute(_MAY).fetchall()[0]
    if may:
        return ""
    return (
        f"Salvor may not keep old and new values in salvor.stripe_changes: GRANT CREATE ON DATABASE {database} TO"
        f" {user}, or, when the table is another's, GRANT SELECT, INSERT on it."
    )


def make(connection: Connection) -> None:
    """Make the audit unless it is there."""
    if not exists(connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('salvor.stripe_changes', 0))")
        connection.execute(_MAKE)


def as_json(columns: Sequence[str]) -> sql.Composed:
    """Write what is kept of a row `t`."""
    pairs = [sql.SQL("{}, t.{}").format(sql.Literal(name), sql.Identifier(name)) for name in columns]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def kept(table: AppTable, fields: Sequence[str]) -> list[str]:
    """Name the columns of which old and new value are kept: what is compared, and what Salvor notes in the row."""
    notes = ("observed_at", "deleted_at") if isinstance(table, SyncedTable) else ()
    columns = table.columns()
    return [columns[field] for field in (*fields, *notes)]


def added(table: AppTable, fields: Sequence[str]) -> list[str]:
    """Name the columns that are written when a row is added."""
    columns = table.columns()
    named = [columns[each] for each in ("id", "user_id") if each in columns]
    return named + [each for each in kept(table, fields) if each not in named]


class Standing(NamedTuple):
    """How the rows that a run changed are now."""

    stands: int
    given_back: int
    moved: int  #: somebody changed them again since
    moved_rows: tuple[str, ...]  #: the first of those


class Audited:
    """What was changed in one table."""

    def __init__(self, database: AppDatabase, name: str, fields: Sequence[str]) -> None:
        """Speak of FIELDS of the table NAME."""
        self.database, self.name, self.mapping = database, name, database.table(name)
        self.fields = tuple(field for field in fields if field in self.mapping.columns())

    def look(self, connection: Connection, run_id: str) -> Standing:
        """Say how many rows are as a run left them, how many as they were before, and which are neither."""
        stands, back, moved, rows = connection.execute(self._filled(_LOOK), self._given(run_id)).fetchall()[0]
        return Standing(stands, back, moved, tuple(rows[:NAMED]))

    def give_back(self, connection: Connection, run_id: str, by: str) -> int:
        """Bring back every row that is still as the run left it, and note that BY did."""
        return connection.execute(self._filled(_GIVE_BACK), self._given(run_id) | {"by": by}).rowcount

    def _given(self, run_id: str) -> dict[str, Any]:
        return {"run": run_id, "table": self.name}

    def _filled(self, statement: str) -> sql.Composed:
        key = sql.Identifier(self.mapping.columns()["id"])
        names = added(self.mapping, self.fields)
        return sql.SQL(statement).format(
            id=key,
            audit=AUDIT,
            table=self.database.identifier(self.mapping),
            columns=_listed(kept(self.mapping, self.fields)),
            added=_listed(names),
            whole=as_json(names),
            stands=sql.SQL(_STANDS).format(id=key),
            back=sql.SQL(_BACK).format(id=key),
        )


def _listed(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def count(connection: Connection, run_id: str) -> int:
    """Count what a run changed."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE run_id = %s").format(AUDIT)
    row = connection.execute(query, [run_id]).fetchone()
    return int(row[0]) if row else 0
