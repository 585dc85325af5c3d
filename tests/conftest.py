"""What many tests share: ledgers on both databases, and one Prefect server per session."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.thrift import settle

signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is told to stop ends his servers first

settle()  # before Prefect is imported

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: E402
from prefect.testing.utilities import prefect_test_harness  # noqa: E402

from tests.ledgers import postgres_ledger, postgres_server, sqlite_ledger  # noqa: E402

# The same examples on every machine, however slow it is.
settings.register_profile("ours", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


@pytest.fixture(scope="session")
def prefect_server():
    """One real Prefect server; without the run heartbeat, which makes every flow call a second longer."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


#: Short, so that a drill need not wait long until a dead run is noticed; longer than any pause of a loaded machine.
LEASE_SECONDS = 3.0


@pytest.fixture(scope="session")
def plane():
    """Prefect server, responder and receiver, with every deployment and automation, for all drills and people."""
    from blocks.ledger.block import Ledger  # noqa: PLC0415 - most tests want none of it
    from flows.triggers.plane.plane import Plane  # noqa: PLC0415
    from tests.drills.ward import speaking_to  # noqa: PLC0415

    root = Path(tempfile.mkdtemp(prefix="plane-"))
    with Plane(root, parts=("server", "responder", "registration", "receiver")) as it:
        with speaking_to(it):
            ledger = Ledger.load("ledger")
            ledger.lease_seconds = LEASE_SECONDS
            ledger.save("ledger", overwrite=True)
        yield it
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def ledger_server():
    """One PostgreSQL server for ledgers, started when the first test wants it."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def past():
    """One primary, and the repository of its backups, whose history is known; started when the first test wants it."""
    from tests.repositories import past as history  # noqa: PLC0415 - few tests want a lab

    with history() as it:
        yield it


@pytest.fixture
def copy(past):
    """Give a copy of that repository, which the test may break."""
    it = past.copy()
    yield it
    it.remove()


@pytest.fixture
def records(past):
    """Give a copy in which the records of the sets and the WAL may be broken, and not the files of the sets."""
    it = past.copy(data=False)
    yield it
    it.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    """Give an empty ledger, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        it = sqlite_ledger(tmp_path)
        yield it
        it.engine.dispose()
        return
    with postgres_ledger(request.getfixturevalue("ledger_server")) as it:
        yield it


@pytest.fixture
def book(tmp_path):
    """Give an empty ledger in SQLite, where the database makes no difference."""
    it = sqlite_ledger(tmp_path)
    yield it
    it.engine.dispose()
