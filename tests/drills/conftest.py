"""One control plane for all drills; a lab for each, which the next one takes over when it was left as it was found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.triggers.plane.plane import Plane
from tests.drills.ward import Ward, speaking_to
from tests.drills.witness import COMES_AND_GOES, Picture
from tests.lab.cluster import Lab


@pytest.fixture
def prefect(plane: Plane) -> Iterator[None]:
    """Let this test's Prefect client speak to the plane."""
    with speaking_to(plane):
        yield


def as_before(lab: Lab, fresh: Picture) -> bool:
    """Whether the lab is whole; one that a failed test left in pieces may not even let itself be looked at."""
    try:
        # A standby that diverged looks like any other, but for its rows.
        held = [lab.psql(name, "SELECT count(*), max(placed_at) FROM orders", "orders") for name in lab.nodes]
        same = held == held[:1] * len(held) and not fresh.unlike(Picture.of(lab), *COMES_AND_GOES)
        return same and lab.primaries() == ["n1"]
    except Exception:  # noqa: BLE001  # whatever it is, the next test gets another lab
        return False


class Labs:
    """Labs that are up, at most one of each kind."""

    def __init__(self) -> None:
        """Bring up none yet."""
        self._up: dict[bool, tuple[Lab, Picture]] = {}

    def untouched(self, *, sync: bool) -> Lab:
        """Return a lab on which nothing has happened, or of which everything was mended."""
        if sync in self._up:
            lab, fresh = self._up.pop(sync)
            if as_before(lab, fresh):
                self._up[sync] = lab, fresh
                return lab
            lab.down()
        lab = Lab(fast=True, sync=sync).up()
        self._up[sync] = lab, Picture.of(lab)
        return lab

    def down(self) -> None:
        """End them all."""
        for lab, _ in self._up.values():
            lab.down()


@pytest.fixture(scope="session")
def labs() -> Iterator[Labs]:
    """Labs to take over from the test before."""
    labs = Labs()
    yield labs
    labs.down()


@pytest.fixture
def lab(labs: Labs) -> Lab:
    """A primary with two standbys, one of which must confirm every commit, and a pooler."""
    return labs.untouched(sync=True)


@pytest.fixture
def async_lab(labs: Labs) -> Lab:
    """The same, but no commit waits for a standby."""
    return labs.untouched(sync=False)


@pytest.fixture
def ward(plane: Plane, prefect: None, lab: Lab) -> Iterator[Ward]:
    """The lab, known to the plane."""
    with Ward(plane, lab) as ward:
        yield ward


@pytest.fixture
def async_ward(plane: Plane, prefect: None, async_lab: Lab) -> Iterator[Ward]:
    """The asynchronous lab, known to the plane."""
    with Ward(plane, async_lab) as ward:
        yield ward
