"""Bring a ledger to the newest version with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from blocks.ledger.block import Ledger

ADVISORY_KEY = 7_301_526  # any number nobody else uses in this database


def upgrade(ledger: Ledger) -> None:
    """Apply what is missing, in one transaction that only one process holds."""
    with ledger.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = '60s'"))
            connection.execute(text("SET LOCAL statement_timeout = '60s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEY})
        command.upgrade(settings(connection), "head")


def settings(connection: Connection) -> Config:
    """Alembic's configuration; there is no ini file, because the block holds the address."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
