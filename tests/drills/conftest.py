"""One control plane for all drills; a lab of its own for each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.ledger.block import Ledger
from flows.triggers.plane import Plane
from tests.drills.ward import Ward, speaking_to
from tests.lab.cluster import Lab

#: Short, so that a drill need not wait long until a dead run is noticed; longer than any pause of a loaded machine.
LEASE_SECONDS = 3.0


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """Prefect server, responder and receiver, with every deployment and automation."""
    root = Path(tempfile.mkdtemp(prefix="drills-"))
    with Plane(root, parts=("server", "responder", "registration", "receiver")) as plane:
        with speaking_to(plane):
            ledger = Ledger.load("ledger")
            ledger.lease_seconds = LEASE_SECONDS
            ledger.save("ledger", overwrite=True)
        yield plane
    shutil.rmtree(root)


@pytest.fixture
def prefect(plane: Plane) -> Iterator[None]:
    """Let this test's Prefect client speak to the plane."""
    with speaking_to(plane):
        yield


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A primary with two standbys, one of which must confirm every commit, and a pooler."""
    with Lab(fast=True) as lab:
        yield lab


@pytest.fixture
def ward(plane: Plane, prefect: None, lab: Lab) -> Ward:
    """The lab, known to the plane."""
    ward = Ward(plane, lab)
    ward.record()
    return ward
