"""One patient, and one person who looks at it through the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.triggers.plane.plane import Plane
from tests.drills.ward import Ward, speaking_to
from tests.lab.cluster import Lab
from tests.ui.browser import Person, chromium


@pytest.fixture(scope="session")
def ward(plane: Plane) -> Iterator[Ward]:
    """An asynchronous cluster called `orders`."""
    if not chromium():
        pytest.skip("Chromium is not installed (as root: apt-get install chromium), so nobody can look at the UI.")
    with Lab(fast=True, sync=False) as lab, speaking_to(plane), Ward(plane, lab, target="orders") as ward:
        yield ward


@pytest.fixture
def person(ward: Ward, tmp_path: Path) -> Iterator[Person]:
    """Somebody at the UI, not signed in yet."""
    with Person.at(ward.plane.ui_url, ward.plane.auth, tmp_path) as person:
        yield person
