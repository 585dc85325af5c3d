"""When a repair waits, when it stops, and how large its next batch is."""

from __future__ import annotations

from datetime import time

import pytest

from tasks.consistency.repair_policies import RepairPolicy, within
from tasks.consistency.throttle import Pressure, judged, next_size

LIMITS = RepairPolicy().limits
CALM = Pressure(lag_mb=0, wal_mb=100, writer_wait_ms=0, archiving_fails=False)


@pytest.mark.parametrize(
    ("now", "wait", "stop"),
    [
        (CALM, "", ""),
        (CALM._replace(lag_mb=16), "", ""),
        (CALM._replace(lag_mb=17), "a standby is 17 MB behind (max_lag_mb)", ""),
        (CALM._replace(lag_mb=1025), "", "a standby is 1,025 MB behind (abort_lag_mb)"),
        (CALM._replace(archiving_fails=True), "", "the archiving of WAL fails"),
        (CALM._replace(writer_wait_ms=201), "a session waits 201 ms for a lock (max_writer_wait_ms)", ""),
        (CALM._replace(wal_mb=202), "the server writes 51 MB of WAL a second (max_wal_mb_per_second)", ""),
        (CALM._replace(wal_mb=199), "", ""),
    ],
)
def test_the_server_is_held_against_the_limits(now, wait, stop):
    """Two seconds after a calm look; what stops comes before what waits."""
    assert judged(now, CALM, 2.0, LIMITS) == (wait, stop)


def test_the_first_look_knows_no_rate():
    """What was ever written is not a rate."""
    assert judged(CALM._replace(wal_mb=1e6), None, 0.0, LIMITS) == ("", "")


@pytest.mark.parametrize(
    ("size", "milliseconds", "following"),
    [
        (200, 50, 200),
        (200, 25, 300),
        (200, 1, 300),
        (200, 100, 100),
        (200, 10_000, 100),
        (60, 500, 50),
        (1900, 1, 2000),
    ],
)
def test_a_batch_grows_and_shrinks_towards_its_time(size, milliseconds, following):
    """By half at most, and never beyond 50 and 2,000 rows."""
    assert next_size(size, milliseconds, 50) == following


@pytest.mark.parametrize(
    ("window", "now", "inside"),
    [
        ("", time(12), True),
        ("22:00-04:00", time(23), True),
        ("22:00-04:00", time(3, 59), True),
        ("22:00-04:00", time(4), False),
        ("09:00-17:00", time(8, 59), False),
        ("09:00-17:00", time(9), True),
    ],
)
def test_a_window_may_go_over_midnight(window, now, inside):
    """Its begin belongs to it, its end does not."""
    assert within(window, now) is inside


def test_a_window_that_cannot_be_read_is_refused_by_the_form():
    """With an example of one that can."""
    with pytest.raises(ValueError, match="as 22:00-04:00"):
        RepairPolicy(window_utc="at night")
