"""The few places where SQLite and PostgreSQL are told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import func

from blocks.errors import LeaseLost
from blocks.ledger.schema import leases, runs


def now(connection: Connection) -> datetime:
    """Tell the time by the ledger's own clock, so that machines with different clocks agree."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def insert_into(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Insert, with ON CONFLICT."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def insert_once(connection: Connection, table: Table, **values: object) -> bool:
    """Insert the row unless it is there; say whether it was new."""
    statement = insert_into(connection, table).values(**values).on_conflict_do_nothing()
    # Without it SQLAlchemy does not ask psycopg for the number, and every row would look as if it had been there.
    result = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return result.rowcount == 1


def locked_lease(connection: Connection, resource: str) -> Row[Any]:
    """Make every other writer of RESOURCE wait until this transaction ends. Always the first lock that is taken."""
    insert_once(connection, leases, resource=resource, token=0)
    return connection.execute(select(leases).where(leases.c.resource == resource).with_for_update()).one()


def live_run(connection: Connection, run_id: str) -> Row[Any]:
    """Lock the row of a run that is neither ended nor found dead."""
    row = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
    if row is None or row.ended_at is not None or row.swept_at is not None:
        said = "is not in the ledger" if row is None else "was ended or declared dead"
        raise LeaseLost(f"Run {run_id} {said}: it must not write any more.")
    return row
