"""Every test of the kinds has a transaction on a real PostgreSQL for itself."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.tasks.consistency.ground import Ground, database


@pytest.fixture(scope="session")
def grounds(ledger_server: str) -> Iterator[str]:
    """One database for all of them."""
    with database(ledger_server) as url:
        yield url


@pytest.fixture
def ground(grounds: str) -> Iterator[Ground]:
    """Give a transaction that is rolled back."""
    with psycopg.connect(grounds) as connection:
        connection.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'")
        yield Ground(connection)
        connection.rollback()
