"""A kind of rule is tried in a transaction of its own, a repair on a database beside a ledger in a file; no Prefect."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tasks.consistency import batches, fences, undo_act
from tests.ledgers import sql
from tests.tasks.consistency.ground import Ground, database
from tests.tasks.consistency.stage import Stage, stage_on


@pytest.fixture(scope="module")
def whole_stage(ledger_server, tmp_path_factory) -> Iterator[Stage]:
    """One database and one ledger for the tests of a file."""
    it = stage_on(ledger_server, tmp_path_factory.mktemp("ledger"), "repaired")
    yield it
    it.ledger.engine.dispose()
    sql(ledger_server, "DROP DATABASE repaired WITH (FORCE)")


@pytest.fixture
def stage(whole_stage) -> Stage:
    """The same with nothing in it."""
    whole_stage.bury()
    whole_stage.clear("")
    return whole_stage


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


@pytest.fixture(autouse=True)
def brief(monkeypatch) -> None:
    """Nobody waits for long here: what is locked stays locked, or is given up by the test itself."""
    for module in (batches, undo_act, fences):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
