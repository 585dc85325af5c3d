"""Every test of a flow has a Prefect server, an empty ledger saved as the block `ledger`, and a fresh patient."""

from __future__ import annotations

import pytest

from tests.flows import fakes
from tests.flows.orders import cluster


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
