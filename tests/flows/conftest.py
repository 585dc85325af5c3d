"""Every test of a flow has a Prefect server, an empty ledger saved as the block `ledger`, and a fresh patient."""

from __future__ import annotations

import pytest

from tests.flows import fakes
from tests.flows.broken_rows import Broken
from tests.flows.orders import cluster
from tests.ledgers import sql


@pytest.fixture
def patient(monkeypatch):
    """Give the patient of one test."""
    it = fakes.Patient()
    monkeypatch.setattr(fakes, "PATIENT", it)
    return it


@pytest.fixture
def saved(prefect_server, book):
    """Give the ledger that the flows load."""
    book.save("ledger", overwrite=True)
    return book


@pytest.fixture
def orders(saved):
    """Give a real cluster that the flows know as `orders`."""
    with cluster(saved) as lab:
        yield lab


@pytest.fixture(scope="session")
def broken_url(ledger_server):
    """Give a database for what is broken."""
    sql(ledger_server, "CREATE DATABASE broken")
    yield f"{ledger_server}broken"
    sql(ledger_server, "DROP DATABASE broken WITH (FORCE)")


@pytest.fixture
def broken(saved, broken_url):
    """Give an application whose rows are still right, known to the flows as `broken`."""
    return Broken(broken_url, saved)
