"""Where Salvor remembers what must survive a process: leases, runs, operations, alerts, the outbox."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr, field_validator
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from blocks.errors import Misconfigured, SalvorError, Transient

T = TypeVar("T")

# A ledger statement takes a millisecond; a recovery must not hang because the ledger's server does.
POSTGRES_ARGS = {
    "connect_timeout": 3,
    "options": "-c statement_timeout=5s -c lock_timeout=5s -c idle_in_transaction_session_timeout=10s",
    "application_name": "salvor-ledger",
}
NO_SUCH_TABLE = {"42P01", "42703"}
NOT_ALLOWED = ("28", "3D", "42501", "25006")  # log-in, database, permission, read-only
WRONG_ADDRESS = ("authentication failed", "does not exist", "readonly", "unable to open")
BUSY_SECONDS = 10.0
PATIENCE_SECONDS = 5.0


class Ledger(Block):
    """Leases, runs, operations, alerts and the outbox; never on a system that is being recovered."""

    _block_type_name = "Salvor ledger"
    _block_type_slug = "salvor-ledger"
    _description = "Leases, runs, operations, alerts and the outbox of Salvor, in SQLite or PostgreSQL."

    url: SecretStr = Field(
        description="SQLAlchemy URL: `sqlite:////var/lib/salvor/ledger.db` (one machine) or `postgresql://user:password@host/salvor`."
        " Never a database of a system that is being recovered."
    )
    lease_seconds: float = Field(
        default=15,
        ge=0.3,
        le=3600,
        description="Seconds after which a run that does not answer is declared dead and started again.",
    )

    @field_validator("url")
    @classmethod
    def _is_a_ledger_url(cls, value: SecretStr) -> SecretStr:
        try:
            backend = make_url(value.get_secret_value()).get_backend_name()
        except ArgumentError:
            backend = "unreadable"
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError("the ledger's URL must begin with sqlite:/// or postgresql://")
        return value

    @property
    def engine(self) -> Engine:
        """The connection pool of this process; a forked child makes its own."""
        return _engine(self.url.get_secret_value(), os.getpid())

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Connection]:
        """Write in one transaction. `durable=False`: may be forgotten when the machine itself loses power."""
        with _translated(), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                _sqlite_begin(connection, "IMMEDIATE", durable=durable)
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read one consistent state, without making any writer wait."""
        with _translated(), self.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                _sqlite_begin(connection, "DEFERRED", durable=True)
            with connection.begin():
                yield connection

    def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run WORK in one transaction, again if the connection broke; so WORK must be safe to repeat."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self.begin(durable=durable) as connection:
                    return work(connection)
            except Transient:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def upgrade(self) -> None:
        """Bring the tables to the newest version; safe to call from several processes at once."""
        from blocks.ledger.migrate import upgrade  # noqa: PLC0415  # Alembic costs 0.1 s that no run should pay

        upgrade(self)


@lru_cache(maxsize=8)
def _engine(url: str, _pid: int) -> Engine:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    return create_engine(
        address, pool_pre_ping=True, pool_size=5, isolation_level="READ COMMITTED", connect_args=POSTGRES_ARGS
    )


def _sqlite(url: str) -> Engine:
    database = make_url(url).database
    if not database or database == ":memory:":
        raise Misconfigured("The ledger needs a file: several processes share it. Use sqlite:////path/ledger.db.")
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(raw: sqlite3.Connection, _record: object) -> None:
    raw.isolation_level = None  # the driver must not begin transactions behind our back
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.info.get("begin", "BEGIN IMMEDIATE"))


def _sqlite_begin(connection: Connection, mode: str, *, durable: bool) -> None:
    # A writer that begins as a reader meets "database is locked" at once, whatever the busy timeout.
    connection.info["begin"] = f"BEGIN {mode}"
    level = "FULL" if durable else "NORMAL"
    if connection.info.get("synchronous") != level:
        raw: Any = connection.connection.dbapi_connection
        raw.execute(f"PRAGMA synchronous={level}")
        connection.info["synchronous"] = level


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (NoSuchModuleError, ArgumentError) as error:
        raise Misconfigured(f"The ledger's URL cannot be used: {error}") from error
    except DBAPIError as error:
        raise _ours(error) from error


def _ours(error: DBAPIError) -> SalvorError:
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if state in NO_SUCH_TABLE or "no such table" in said or "no such column" in said:
        return Misconfigured(f"The ledger's tables are not up to date ({said}). Run: python -m blocks.ledger upgrade")
    if state.startswith(NOT_ALLOWED) or any(words in said for words in WRONG_ADDRESS):
        return Misconfigured(f"The ledger cannot be used ({said}). Correct the block: Ledger(url=...).save('ledger')")
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Transient(f"The ledger did not answer ({said}).")
    return SalvorError(f"The ledger refused a statement ({said}).")
