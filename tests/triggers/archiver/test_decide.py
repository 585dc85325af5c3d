"""What an archiver makes of its looks, as tables: pure, no clock, no server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from blocks.backup_records import Inlet, WalFile
from flows.triggers.archiver.decide import Course, Pace, Server, Slot, View, decide, wanting
from tests.tasks.backups.worlds import NOW, SIZE, at

PACE = Pace()
FORKED = "ERROR:  requested starting point 0/4000000 on timeline 1 is not in this server's history DETAIL: ..."


def server(segment: float = 9.5, arrived: float | None = 9.5, **given: Any) -> Server:
    """A primary that has written up to SEGMENT, of which ARRIVED is in the repository; None: nobody streams."""
    slot = Slot(kept_from=at(given.pop("kept", 9)), flushed=None if arrived is None else at(arrived))
    said = {"node": "n1", "primary": True, "system_identifier": "77", "timeline": 1, "written": at(segment)}
    return Server(**said | {"slot": slot} | given)


def look(seconds: float, *servers: Server) -> View:
    return View(at=NOW + timedelta(seconds=seconds), servers=servers)


def course(*looks: View) -> Course:
    """Begin at NOW, and take LOOKS into account."""
    it = Course.begin(NOW)
    for each in looks:
        it = it.note(each, PACE)
    return it


def covered(it: Course) -> float:
    return (it.covered_at - NOW).total_seconds()


@pytest.mark.parametrize(
    ("seen", "until"),
    [
        ([(2, 9.5, 9.5), (4, 9.5, 9.5)], 4),  # nothing is written, and nothing is missing
        (
            [(2, 9.5, 9.4), (4, 9.7, 9.6), (6, 9.9, 9.8)],
            4,
        ),  # it follows: what was written at a look arrives by the next
        ([(2, 9.5, 9.4), (4, 9.7, 9.4), (6, 9.9, 9.4)], 0),  # it streams, and nothing arrives
        ([(2, 9.5, 9.5), (4, 9.7, None), (6, 9.9, None)], 2),  # nobody streams
        ([(2, 9.5, 9.5), (4, 9.5, None), (6, 9.5, None)], 6),  # nobody streams, and nothing is written
        ([(2, 9.5, 9.5), (4, 9.7, None), (6, 9.9, 9.6), (8, 9.9, 9.9)], 8),  # it has caught up
    ],
)
def test_until_when_everything_has_arrived(seen: list[tuple[float, float, float | None]], until: float) -> None:
    """The archive covers a moment when all that was written by then is in it."""
    assert covered(course(*(look(s, server(w, a)) for s, w, a in seen))) == until


def test_a_new_history_has_not_arrived_because_its_numbers_are_smaller() -> None:
    """After a failover the primary may be behind what had arrived of the old timeline: that covers nothing of it."""
    assert covered(course(look(2, server(9.5)), look(4, server(9.1, None, timeline=2)))) == 2


LOST = Slot(lost=True)
STREAM = Inlet(receivers=(7,), newest=WalFile(timeline=1, number=9, partial=True))


@pytest.mark.parametrize(
    ("primary", "inlet", "tries", "anew"),
    [
        (server(arrived=None), STREAM, 0, False),  # it died, or its connection did: it goes on
        (server(arrived=None), Inlet(), 0, False),  # nothing was ever kept
        (server(arrived=None, slot=None), STREAM, 0, False),  # a promotion took the slot: it goes on where that reaches
        (server(arrived=None, slot=LOST), STREAM, 0, True),
        (server(arrived=None), STREAM.model_copy(update={"said": FORKED}), 0, True),
        (server(arrived=None), STREAM.model_copy(update={"said": "segment 9 has already been removed"}), 0, True),
        (server(arrived=None), STREAM.model_copy(update={"said": "password authentication failed"}), 9, False),
        # In whatever language: the other timeline, and one start that did not help.
        (server(arrived=None, timeline=2), STREAM, 0, False),
        (server(arrived=None, timeline=2), STREAM, 1, True),
        # The slot was made late: what the archive does not have may be there or not, so patience costs nothing.
        (server(arrived=None, timeline=2, kept=12), STREAM, 2, False),
        (server(arrived=None, timeline=2, kept=12), STREAM, 3, True),
        (server(arrived=None, kept=12, segment=12.5), STREAM, 3, True),
        (server(8.5, None), STREAM.model_copy(update={"newest": WalFile(timeline=1, number=9)}), 1, True),
    ],
)
def test_when_the_stream_begins_anew(primary: Server, inlet: Inlet, tries: int, anew: bool) -> None:
    """Only where the old folder cannot be gone on with; never merely because something does not work."""
    assert decide(primary, inlet, tries, SIZE).anew is anew


def test_nothing_is_done_while_it_streams_or_nobody_knows_who_writes() -> None:
    """Without one primary there is nothing to stream; a second one makes it nobody's."""
    other = server(node="n2")
    for seen in (look(2), look(2, server(primary=False)), look(2, server(), other), look(2, server())):
        assert wanting(course(seen), seen, PACE) is None


def test_a_receiver_that_was_started_is_given_time() -> None:
    """Twice as long each time; as soon as WAL arrives that is forgotten."""
    waits, it = [], course(look(0.5, server(9.6, None)))
    for _ in range(5):
        it = it.tried(PACE)
        waits.append((it.not_before - it.looked_at).total_seconds() if it.not_before else 0)
        assert wanting(it, look(1, server(9.6, None)), PACE) is None
    assert waits == [2, 4, 8, 16, 30]
    again = it.note(look(2, server(9.6)), PACE)
    assert (again.tries, again.not_before) == (0, None)
    assert wanting(again, look(4, server(9.7, None)), PACE) is not None


def test_a_connection_that_only_looks_alive_is_ended() -> None:
    """Nothing arrives for half a minute although more is written; one that has just connected is given as long."""
    silent = [look(s, server(9.5 + s / 100, 9.4)) for s in range(0, 42, 2)]
    assert wanting(course(*silent[:15]), silent[14], PACE) is None
    assert wanting(course(*silent), silent[-1], PACE) is not None
    back = [look(40, server(9.8, None)), look(42, server(9.8, 9.4)), look(44, server(9.8, 9.4))]
    assert wanting(course(*silent, *back), back[-1], PACE) is None
