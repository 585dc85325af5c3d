"""Bring the rows of a comparison to what Stripe says: one statement and one transaction for each table."""

from __future__ import annotations

from collections.abc import Iterable

from blocks import app_audit
from blocks.app_database import AppDatabase
from blocks.app_rows import SyncedRows
from tasks.stripe.compare import staged
from tasks.stripe.kinds import fields_of
from tasks.stripe.spool import Spool


def repaired(
    database: AppDatabase, spool: Spool, tables: Iterable[str], operations: Iterable[str], run_id: str
) -> dict[str, int]:
    """Change each row that is still as it was read; say how many of each table were."""
    wanted, done = tuple(operations), {}
    for table in tables:
        with database.writing() as connection:
            app_audit.make(connection)
            rows = SyncedRows(database, table, fields_of(table))
            done[table] = rows.repair(connection, run_id, staged(spool.kept(table, wanted)))
    return done
