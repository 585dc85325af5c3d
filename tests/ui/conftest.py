"""One control plane, one patient, and one person who looks at both."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.triggers.plane.plane import Plane
from tests.drills.ward import Ward, speaking_to
from tests.lab.cluster import Lab
from tests.ui.browser import Person, chromium


@pytest.fixture(scope="session")
def ward() -> Iterator[Ward]:
    """An asynchronous cluster called `orders`, under a plane of its own."""
    if not chromium():
        pytest.skip("Chromium is not installed (as root: apt-get install chromium), so nobody can look at the UI.")
    root = Path(tempfile.mkdtemp(prefix="ui-"))
    plane, lab = Plane(root, parts=("server", "responder", "registration")), Lab(fast=True, sync=False)
    try:
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(lab.up)
            plane.up()
            coming.result()
        with speaking_to(plane), Ward(plane, lab, target="orders") as ward:
            yield ward
    finally:
        plane.down(now=True)
        lab.down()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def person(ward: Ward, tmp_path: Path) -> Iterator[Person]:
    """Somebody at the UI, not signed in yet."""
    with Person.at(ward.plane.ui_url, ward.plane.auth, tmp_path) as person:
        yield person
