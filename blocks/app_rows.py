"""The rows of one synced table: read as lines, and brought to what they should be by one guarded, audited statement.

A line is what COPY writes: the values of the compared columns, with tabs between them. Both sides being lines, nothing
is parsed to compare them, and staging takes them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from psycopg import sql

from blocks.app_audit import AUDIT, added, as_json, kept
from blocks.app_database import AppDatabase, Connection
from blocks.app_tables import SyncedTable

#: Id, line, whether it has a tombstone, when Stripe was last asked about it, whether Stripe made it since a moment.
OurRow = tuple[str, str, bool, str, bool]
_FLUSH = 1 << 16

_LINES = """
COPY (SELECT {id}, {columns}, {deleted_at} IS NOT NULL, {observed_at}, {inside} FROM {table}
      ORDER BY {id}::text COLLATE "C") TO STDOUT
"""
_STAGING = """
CREATE TEMP TABLE salvor_staging ON COMMIT DROP AS
SELECT {id} AS id, ''::text AS operation, {observed_at} AS asked_at, ''::text AS hint, {new}, {old},
       {observed_at} AS old_observed_at
FROM {table} WITH NO DATA
"""
_REPAIR = """
WITH held AS MATERIALIZED (
    SELECT s.*, {before} AS before FROM {table} t JOIN salvor_staging s ON s.id = t.{id}
    WHERE s.operation <> 'insert' AND ({current}) IS NOT DISTINCT FROM ({old})
      AND t.{observed_at} IS NOT DISTINCT FROM s.old_observed_at
      AND (t.{deleted_at} IS NOT NULL) = (s.operation = 'revive')
      -- Whoever looked at Stripe later than we did knows better, unless his time has not come yet.
      AND (t.{observed_at} <= s.asked_at OR t.{observed_at} > clock_timestamp() OR t.{observed_at} IS NULL)
    FOR UPDATE OF t
), changed AS (
    UPDATE {table} t SET {sets},
        {deleted_at} = CASE WHEN h.operation = 'tombstone' THEN clock_timestamp() END,
        {observed_at} = h.asked_at
    FROM held h WHERE t.{id} = h.id
    RETURNING t.{id} AS id, h.operation, h.before, {before} AS after
), added AS (
    INSERT INTO {table} AS t ({id}, {columns}, {observed_at}{more})
    SELECT s.id, {new}, s.asked_at{hints} FROM salvor_staging s WHERE s.operation = 'insert'
    ON CONFLICT DO NOTHING
    RETURNING t.{id} AS id, 'insert'::text, NULL::jsonb, {whole}
)
INSERT INTO {audit} (run_id, table_name, row_id, operation, before, after)
SELECT %(run)s, %(table)s, id, operation, before, after FROM (SELECT * FROM changed UNION ALL SELECT * FROM added) c
"""
_USER = """, coalesce(
    (SELECT u.{user} FROM {users} u WHERE u.{user}::text = s.hint),
    (SELECT min(u.{user}) FROM {users} u WHERE u.{customer} = s.id))"""


class SyncedRows:
    """One table of the application that holds copies of Stripe's objects."""

    def __init__(self, database: AppDatabase, name: str, fields: Sequence[str]) -> None:
        """Compare FIELDS of the table NAME, as far as the application has columns for them."""
        table = database.table(name)
        assert isinstance(table, SyncedTable)  # noqa: S101 - no other is asked for
        self.database, self.name, self.mapping = database, name, table
        self.fields = tuple(field for field in fields if field in table.columns())
        self.columns = [sql.Identifier(table.columns()[field]) for field in self.fields]

    def lines(self, connection: Connection, since: int = 0) -> Iterator[OurRow]:
        """Read every row by id, and say of each whether Stripe made it SINCE then, or nobody knows when."""
        inside: sql.Composable = sql.SQL("true")
        if since:
            created = sql.Identifier(self.mapping.created_at)
            inside = sql.SQL("({} >= to_timestamp({})) IS NOT FALSE").format(created, sql.Literal(since))
        with connection.cursor().copy(self._filled(_LINES, inside=inside)) as copy:
            for block in copy:
                row = bytes(block)[:-1].decode()
                key, _, rest = row.partition("\t")
                line, deleted, observed, among = rest.rsplit("\t", 3)
                yield key, line, deleted == "t", observed, among == "t"

    def livemodes(self, connection: Connection) -> set[bool]:
        """Tell of which modes the rows are."""
        query = self._filled("SELECT DISTINCT {livemode} FROM {table} WHERE {livemode} IS NOT NULL")
        return {bool(row[0]) for row in connection.execute(query)}

    def repair(self, connection: Connection, run_id: str, staged: Iterable[tuple[str, ...]]) -> int:
        """Bring rows to what they should be, if they are still as they were read; say how many were.

        STAGED gives for each row: id, operation, when Stripe was asked, a hint, its new line, its old line, and when
        Stripe had been asked before.
        """
        connection.execute(self._filled(_STAGING))
        with connection.cursor().copy("COPY salvor_staging FROM STDIN") as copy:
            block = bytearray()
            for row in staged:
                block += "\t".join(row).encode() + b"\n"
                if len(block) > _FLUSH:
                    copy.write(bytes(block))
                    block.clear()
            copy.write(bytes(block))
        connection.execute("ANALYZE salvor_staging")
        done = connection.execute(self._filled(_REPAIR), {"run": run_id, "table": self.name})
        connection.execute("DROP TABLE salvor_staging")
        return done.rowcount

    def _filled(self, statement: str, **more: Any) -> sql.Composed:  # noqa: ANN401 - what format takes
        table = self.mapping
        names = {name: sql.Identifier(column) for name, column in table.columns().items() if name not in self.fields}
        users = self._users()
        return sql.SQL(statement).format(
            **{"id": sql.Identifier(table.id), "livemode": sql.Identifier(table.livemode)} | names | more,
            table=self.database.identifier(table),
            columns=_listed("{}", self.columns),
            new=self._aliased("new") if statement is _STAGING else _listed("s.{}", self._staged("new")),
            old=self._aliased("old") if statement is _STAGING else _listed("s.{}", self._staged("old")),
            current=_listed("t.{}", self.columns),
            sets=sql.SQL(", ").join(
                sql.SQL("{} = h.{}").format(column, new)
                for column, new in zip(self.columns, self._staged("new"), strict=True)
            ),
            before=as_json(kept(table, self.fields)),
            whole=as_json(added(table, self.fields)),
            audit=AUDIT,
            more=sql.SQL(", {}").format(sql.Identifier(users[0])) if users else sql.SQL(""),
            hints=users[1] if users else sql.SQL(""),
        )

    def _users(self) -> tuple[str, sql.Composed] | None:
        """Say how the user of a new customer is found: Stripe's metadata names one, or a user names the customer."""
        column = self.mapping.columns().get("user_id") if self.name == "customers" else None
        if column is None:
            return None
        users = self.database.users
        found = sql.SQL(_USER).format(
            user=sql.Identifier(users.id),
            customer=sql.Identifier(users.stripe_customer_id),
            users=self.database.identifier(users),
        )
        return column, found

    def _staged(self, prefix: str) -> list[sql.Identifier]:
        return [sql.Identifier(f"{prefix}_{number}") for number in range(len(self.columns))]

    def _aliased(self, prefix: str) -> sql.Composed:
        pairs = zip(self.columns, self._staged(prefix), strict=True)
        return sql.SQL(", ").join(sql.SQL("{} AS {}").format(column, alias) for column, alias in pairs)


def _listed(pattern: str, names: Sequence[sql.Identifier]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(pattern).format(name) for name in names)
