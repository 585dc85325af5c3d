"""The application's own database: where its customers, subscriptions, invoices, payments and events are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from prefect.blocks.core import Block
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import ConfigDict, Field, SecretStr, field_validator

from blocks.app_catalog import misfits
from blocks.app_refusal import meaning, not_let_in
from blocks.app_tables import (
    AppTable,
    CustomersTable,
    EventEffectsTable,
    InvoicesTable,
    PaymentsTable,
    StripeEventsTable,
    SubscriptionsTable,
    UsersTable,
)

Connection = psycopg.Connection[tuple[Any, ...]]

_SCHEME = re.compile(r"^postgres(ql)?(\+\w+)?://")


class AppDatabase(Block):
    """A PostgreSQL database of an application, and where in it the copies of Stripe's objects are."""

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor application database"
    _block_type_slug = "salvor-app-database"
    _description = "The application's PostgreSQL database: its address, and its tables of users, payments and events."

    url: SecretStr = Field(
        description="postgresql://user:password@host/database; the user reads and writes the tables below."
    )
    schema_name: str = Field(default="public", min_length=1, description="Schema the tables are in.")
    statement_seconds: int = Field(
        default=300, ge=1, le=86_400, description="Seconds after which a statement of Salvor is given up."
    )
    users: UsersTable = Field(default_factory=UsersTable, description="The table of users.")
    customers: CustomersTable = Field(default_factory=CustomersTable, description="The table of customers.")
    subscriptions: SubscriptionsTable = Field(
        default_factory=SubscriptionsTable, description="The table of subscriptions."
    )
    invoices: InvoicesTable = Field(default_factory=InvoicesTable, description="The table of invoices.")
    payments: PaymentsTable = Field(default_factory=PaymentsTable, description="The table of payments.")
    stripe_events: StripeEventsTable = Field(
        default_factory=StripeEventsTable, description="The table of the events that Stripe sent."
    )
    event_effects: EventEffectsTable = Field(
        default_factory=EventEffectsTable, description="The table of the effects that were done."
    )

    @field_validator("url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        try:
            conninfo_to_dict(_SCHEME.sub("postgresql://", value.get_secret_value()))
        except psycopg.ProgrammingError:
            raise ValueError("the URL cannot be understood: postgresql://user:password@host/database") from None
        if not _SCHEME.match(value.get_secret_value()):
            raise ValueError("the URL must begin with postgresql://")
        return value

    @property
    def where(self) -> str:
        """Name the database for a sentence, without its secrets."""
        parts = conninfo_to_dict(self._conninfo())
        place = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
        return f"the application's database {parts.get('dbname', '')} at {place}"

    @property
    def address(self) -> tuple[str, int]:
        """Give host and port."""
        parts = conninfo_to_dict(self._conninfo())
        return str(parts.get("host") or "localhost").split(",")[0], int(str(parts.get("port") or 5432).split(",")[0])

    def table(self, name: str) -> AppTable:
        """Give the mapping of one of the tables."""
        found: AppTable = getattr(self, name)
        return found

    def identifier(self, table: AppTable) -> sql.Identifier:
        """Give the quoted name of a table."""
        return sql.Identifier(self.schema_name, table.table)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Look at one moment of the database, in a transaction that cannot write."""
        with self._connected() as connection, self._translated(wrote=False):
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with connection.transaction():
                self._settle(connection)
                yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Stay connected, for many short transactions."""
        with self._connected() as connection:
            # A statement that waited for a row looks at it again; a stricter default of the database would give up.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write in one transaction; when its commit was not answered, Ambiguous is raised."""
        with self.session() as connection, self.written(connection):
            yield connection

    @contextmanager
    def written(self, connection: Connection) -> Iterator[None]:
        """Write in one transaction of a session; when its commit was not answered, Ambiguous is raised."""
        with self._translated(wrote=False):
            transaction = connection.transaction()
            transaction.__enter__()
            self._settle(connection)
        try:
            with self._translated(wrote=False):
                yield
        except BaseException as error:
            with self._translated(wrote=False):
                transaction.__exit__(type(error), error, error.__traceback__)
            raise
        with self._translated(wrote=True):
            transaction.__exit__(None, None, None)

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """Run statements that no transaction may enclose, as CREATE INDEX CONCURRENTLY, each for itself."""
        with self._connected() as connection, self._translated(wrote=False):
            connection.autocommit = True
            yield connection

    def now(self) -> float:
        """Tell the database's own time, in seconds since 1970."""
        with self.reading() as connection:
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        return float(row[0]) if row else 0.0

    def misfits(self, names: Iterable[str], *, to_write: bool) -> list[str]:
        """Compare the mapping of the tables NAMES with the real catalog: a sentence for each thing that is wrong."""
        with self.reading() as connection:
            return misfits(connection, self.schema_name, [self.table(name) for name in names], to_write=to_write)

    def _conninfo(self) -> str:
        return _SCHEME.sub("postgresql://", self.url.get_secret_value())

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        conninfo = make_conninfo(
            self._conninfo(), connect_timeout=5, application_name="salvor", tcp_user_timeout=30_000, keepalives_idle=5
        )
        try:
            # A pooler that hands out another server for each transaction knows no prepared statements.
            connection = psycopg.connect(conninfo, prepare_threshold=None)
        except psycopg.Error as error:
            raise not_let_in(self.where, error) from error
        with connection:
            yield connection

    def _settle(self, connection: Connection) -> None:
        # For this transaction only, as a pooler's next client must not find it; times are compared as UTC text.
        milliseconds = self.statement_seconds * 1000
        connection.execute(
            "SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true),"
            " set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
            [str(milliseconds)],
        )

    @contextmanager
    def _translated(self, *, wrote: bool) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise meaning(self.where, error, wrote=wrote) from error
