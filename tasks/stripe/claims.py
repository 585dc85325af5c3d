"""The one claim protocol of events, in an application's own database: kept, claimed, done once, settled.

Whoever handles an event does all of it in one transaction: `serialise` by its object, `claim`, write the state under
the guard of when it was looked at, enter each `effect`, `settle`. A process that dies leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from blocks.app_database import AppDatabase, Connection
from blocks.app_tables import AppTable
from tasks import queries
from tasks.stripe.replay_state import ABSORBING, Event

SQL = queries.load(Path(__file__).with_name("claims.sql"))
PER_TABLE = ("project", "bury", "linked", "of_other_mode")
Rows = list[dict[str, Any]]


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def columns(table: AppTable) -> SimpleNamespace:
    """Give the quoted column of every field."""
    return SimpleNamespace(**{name: quoted(column) for name, column in table.columns().items()})


class Claims:
    """The protocol on the tables of one application."""

    def __init__(self, database: AppDatabase) -> None:
        """Speak of the events and effects of DATABASE."""
        self.database = database
        names = {
            "events": self.named(database.stripe_events),
            "effects": self.named(database.event_effects),
            "e": columns(database.stripe_events),
            "f": columns(database.event_effects),
        }
        self._sql = {name: query.format(**names).encode() for name, query in SQL.items() if name not in PER_TABLE}
        self._upserts: dict[tuple[str, tuple[str, ...]], bytes] = {}

    def named(self, table: AppTable) -> str:
        """Give the full name of a table."""
        return f"{quoted(self.database.schema_name)}.{quoted(table.table)}"

    def run(self, connection: Connection, query: str, **values: object) -> Rows:
        """Execute one of the queries and give its rows by name."""
        cursor = connection.execute(self._sql[query], values)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def keep(self, connection: Connection, events: Sequence[Event], source: str, run_id: str | None = None) -> int:
        """Make EVENTS durable; say how many were new."""
        arrays = {
            "accounts": [e.account for e in events],
            "ids": [e.id for e in events],
            "types": [e.type for e in events],
            "objects": [e.object_id or None for e in events],
            "created": [e.created for e in events],
            "versions": [e.api_version or None for e in events],
            "livemodes": [e.livemode for e in events],
            "payloads": [e.payload for e in events],
        }
        return len(self.run(connection, "keep", source=source, run_id=run_id, **arrays))

    def project(
        self, connection: Connection, table: str, object_id: str, row: dict[str, str | None], observed_at: datetime
    ) -> bool:
        """Write the state that was seen at OBSERVED_AT, unless the row is of a later look or has come to its end."""
        known = self.database.table(table).columns()
        fields = tuple(name for name in row if name in known)
        values = [object_id, *(row[name] for name in fields), observed_at]
        return connection.execute(self._upsert(table, fields), values).rowcount == 1

    def linked(self, connection: Connection, ids: Sequence[str]) -> dict[str, str | None] | None:
        """Give the invoice of each payment that is known to pay one; None when the application does not keep that."""
        if "invoice_id" not in self.database.payments.columns():
            return None
        return dict(self._of(connection, "linked", self.database.payments, ids=list(ids)))

    def of_other_mode(self, connection: Connection, table: str, *, ours: bool) -> bool:
        """Tell whether TABLE has rows, and none of our mode."""
        return bool(self._of(connection, "of_other_mode", self.database.table(table), ours=ours)[0][0])

    def _of(self, connection: Connection, query: str, table: AppTable, **values: object) -> list[tuple[Any, ...]]:
        statement = SQL[query].format(t=self.named(table), c=columns(table))
        return connection.execute(statement.encode(), values).fetchall()

    def bury(self, connection: Connection, table: str, object_id: str, observed_at: datetime) -> bool:
        """Put a tombstone on the row of what Stripe no longer has; an older look does not."""
        mapped = self.database.table(table)
        statement = SQL["bury"].format(t=self.named(mapped), c=columns(mapped))
        return connection.execute(statement.encode(), {"id": object_id, "at": observed_at}).rowcount == 1

    def _upsert(self, table: str, fields: tuple[str, ...]) -> bytes:
        if (table, fields) not in self._upserts:
            self._upserts[table, fields] = self._written(table, fields)
        return self._upserts[table, fields]

    def _written(self, table: str, fields: tuple[str, ...]) -> bytes:
        mapped = self.database.table(table)
        c = columns(mapped)
        names = [c.id, *(getattr(c, name) for name in fields), c.observed_at]
        guard = "true"
        if ends := ABSORBING.get(table):
            listed = ", ".join(f"'{status}'" for status in ends)
            guard = f"t.{c.status} IS NULL OR t.{c.status} NOT IN ({listed}) OR excluded.{c.status} IN ({listed})"
        parts = {
            "names": ", ".join(names),
            "marks": ", ".join(["%s"] * len(names)),
            "sets": ", ".join(f"{name} = excluded.{name}" for name in names[1:]),
            "guard": guard,
        }
        return SQL["project"].format(t=self.named(mapped), c=c, **parts).encode()
