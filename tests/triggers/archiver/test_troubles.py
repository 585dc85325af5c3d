"""What on-call is told, and what not: pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flows.triggers.archiver.decide import Server, View
from flows.triggers.archiver.troubles import (
    GIGABYTE,
    Bounds,
    Kept,
    Troubles,
    of_drills,
    of_hole,
    of_sets,
    of_slot,
    of_wal,
)
from tests.tasks.backups.worlds import DAY, NOW, at
from tests.triggers.archiver.test_decide import PACE, course, look, server

BOUNDS = Bounds(slot_bytes=10 * GIGABYTE, set_days=8, drill_days=8)


def late(*looks: View, **given: Any) -> Troubles:
    it = course(*looks)
    return of_wal("orders", it.because("no receiver runs", **given) if given else it, looks[-1], PACE)


def silent(until: float, first: float = 2) -> list[View]:
    """The primary writes and nobody streams, look by look."""
    return [look(s, server(9.5 + s / 100, None)) for s in range(int(first), int(until) + 1, 2)]


def test_wal_that_is_late_is_told_with_what_it_means() -> None:
    """After a minute, not before; the sentence says what is lost with whom, and what was seen."""
    assert late(*silent(60)) == {"late": None}
    (told,) = late(*silent(66), held=False).values()
    assert told is not None
    assert told.urgency == "page"
    assert "What is written now is lost when n1 is lost." in told.body
    assert "no receiver runs" in told.body


@pytest.mark.parametrize(
    ("looks", "given"),
    [
        ([look(s) for s in range(2, 200, 2)], {}),  # nobody writes: the sentinel's trouble, not ours
        ([*(look(s) for s in range(2, 200, 2)), *silent(220, 200)], {}),  # the new primary has just begun
        ([look(2, server(9.4)), *silent(620, 600)], {}),  # we slept
        (silent(300), {"held": True}),  # a run is at work, and says itself how it ends
    ],
)
def test_what_is_no_news_of_wal(looks: list[View], given: dict[str, Any]) -> None:
    """Neither a trouble nor the end of one."""
    assert late(*looks, **given) == {}


def test_a_run_that_holds_the_cluster_for_long_is_no_excuse() -> None:
    """What it leaves unprotected for a quarter of an hour somebody must know."""
    assert late(*silent(910), held=True)["late"] is not None


def test_the_trouble_is_over_when_all_has_arrived() -> None:
    """A stream that is back and still behind is not the end of it."""
    back = look(80, server(10.4, 9.9)), look(82, server(10.4, 10.0))
    (told,) = late(*silent(78), *back).values()
    assert told is not None
    assert "It streams, and is 6 MB behind" in told.body
    assert late(*silent(78), *back, look(84, server(10.4, 10.4))) == {"late": None}


def kept(gigabytes: float, node: str = "n1", **given: Any) -> Server:
    return server(9.5, node=node, written=at(1) + int(gigabytes * GIGABYTE), kept=1, **given)


def test_wal_that_piles_up_is_told_before_the_disk_is_full() -> None:
    """On whichever server; it is over when clearly less is kept, and unknown when nobody answers."""
    told = of_slot("orders", look(0, kept(0.1), kept(11, "n2", primary=False)), BOUNDS)["slot"]
    assert told is not None
    assert "n2 keeps 11.0 GB of WAL for the archive, more than 10.0 GB (slot_bytes)" in told.body
    assert "slot" not in of_slot("orders", look(0, kept(9)), BOUNDS)
    assert of_slot("orders", look(0, kept(7)), BOUNDS) == {"slot": None, "unbounded": None}
    assert of_slot("orders", look(0), BOUNDS) == {}


def test_a_slot_without_a_bound_is_said_but_wakes_nobody() -> None:
    """max_slot_wal_keep_size = -1 is PostgreSQL's default."""
    told = of_slot("orders", look(0, kept(0.1, bounded=False)), BOUNDS)["unbounded"]
    assert told is not None
    assert told.urgency == "inform"
    assert "max_slot_wal_keep_size is -1 on n1" in told.body


def test_a_hole_is_told_with_what_closes_it() -> None:
    """Three files are missing between segments 4 and 8."""
    told = of_hole("orders", (4, 8), known=True)["hole"]
    assert told is not None
    assert told.body.startswith("3 files of WAL are missing")
    assert of_hole("orders", None, known=True) == {"hole": None}
    assert of_hole("orders", None, known=False) == {}


@pytest.mark.parametrize(
    ("days", "known_days", "trouble"),
    [
        (7.9, 99, False),
        (8.1, 99, True),
        (None, 7.9, None),  # it was set up last week: neither a trouble nor the end of one
        (None, 8.1, True),
    ],
)
def test_a_newest_set_that_is_too_old(days: float | None, known_days: float, trouble: bool | None) -> None:
    """Eight days after the last good one, or after the repository became known and got none."""
    newest = None if days is None else NOW - days * DAY
    said = of_sets("orders", Kept(known_since=NOW - known_days * DAY, newest_at=newest), NOW, BOUNDS)
    assert (bool(said["sets"]) if said else None) is trouble


@pytest.mark.parametrize(
    ("given", "trouble"),
    [
        ({"drills": False}, None),  # nobody ever wanted one
        ({"passed_at": NOW - 7 * DAY}, False),
        ({"passed_at": NOW - 9 * DAY}, True),
        ({"practised_since": NOW - 9 * DAY}, True),  # there were some, and none has passed
        ({"practised_since": NOW - timedelta(hours=1)}, None),
        ({"known_since": NOW - DAY}, None),
        ({}, True),  # they are wanted for long, and there was none
    ],
)
def test_drills_that_are_overdue(given: dict[str, Any], trouble: bool | None) -> None:
    """Eight days without one that passed, once drills are wanted or were run."""
    said = of_drills("orders", Kept(**{"known_since": NOW - 99 * DAY, "drills": True} | given), NOW, BOUNDS)
    assert (bool(said["drills"]) if said else None) is trouble
