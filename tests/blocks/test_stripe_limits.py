"""How fast Stripe may be asked: evenly, on two levels, by all processes of a machine together."""

from __future__ import annotations

import itertools
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.stripe_limits import GAIN, LEAST_SHARE, Limit, RateLimiter

ENDPOINT = "v1/events"


def limiter(directory, account_rate=1000.0, endpoint_rate=1000.0) -> RateLimiter:
    return RateLimiter("acct_1", account_rate, endpoint_rate, directory, sleep=lambda _seconds: None)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=40), st.floats(0.5, 100))
def test_requests_are_never_closer_than_the_rate_allows_and_never_saved_up(pauses, rate):
    """Whatever the rhythm of those who ask, also after a long silence: there is no burst."""
    limit, now, last = Limit(), 1000.0, None
    for pause in pauses:
        now += pause
        at = limit.take(now, rate)
        assert at >= now
        assert last is None or at >= last + 1 / rate - 1e-9
        last = at


def test_a_refusal_halves_the_rate_once_for_a_bout_and_it_recovers_with_each_request():
    """Several refusals within a second are one; the pause that Stripe asked for is kept by all."""
    limit = Limit()
    limit.cut(1000.0, 25, 0.0)
    limit.cut(1000.4, 25, 7.0)
    assert (limit.share, limit.take(1000.5, 25)) == (0.5, 1007.4)
    assert limit.share == 0.5 + GAIN
    limit.cut(1002.0, 25, 0.0)
    assert limit.share == (0.5 + GAIN) / 2
    for second in range(1003, 1020):
        limit.cut(float(second), 25, 0.0)
    assert limit.share == LEAST_SHARE


def test_what_was_written_before_a_reboot_is_forgotten():
    """The clock began again: a moment far ahead, a share that is none, or one not a number, holds nobody up."""
    for spoilt in (Limit(9e9, 1.0), Limit(5.0, 7.0), Limit(5.0, float("nan")), Limit(float("nan"), 1.0)):
        assert spoilt.take(10.0, 25) == 10.0
        assert spoilt.share == 1.0


def spaced(*waits) -> float:
    """Make requests, and give the least time that lay between the moments of two of them, whatever the load."""
    moments = []
    for wait in waits:
        asked = time.monotonic()
        pause = wait()
        moments.append((asked + pause, time.monotonic() + pause))
    return min(later[1] - earlier[0] for earlier, later in itertools.pairwise(moments))


def test_each_endpoint_has_its_limit_and_all_of_them_that_of_the_account(tmp_path):
    """Ten a second for one endpoint; four for the account, whichever endpoints are asked."""
    one = limiter(tmp_path, account_rate=1000, endpoint_rate=10)
    assert spaced(*[lambda: one.wait("a")] * 4) >= 0.1
    other = RateLimiter("acct_2", 4, 1000, tmp_path, sleep=lambda _seconds: None)
    assert spaced(lambda: other.wait("a"), lambda: other.wait("b"), lambda: other.wait("c")) >= 0.25
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("reason", "account", "endpoint"), [("global-rate", 0.5, 1.0), ("endpoint-rate", 1.0, 0.5), ("", 1.0, 0.5)]
)
def test_a_refusal_slows_the_level_that_stripe_names(tmp_path, reason, account, endpoint):
    """The whole account or only the endpoint; without a reason the endpoint."""
    one = limiter(tmp_path)
    one.slow(ENDPOINT, reason)
    assert (one.share(), one.share(ENDPOINT), one.share("v1/other")) == (account, endpoint, 1.0)
    one.close()


def test_two_processes_share_a_limit_and_one_that_is_killed_leaves_nothing_locked(tmp_path):
    """The child takes three moments and is killed; ours come after them."""
    mine = limiter(tmp_path, endpoint_rate=10)
    begun = time.monotonic()
    mine.wait(ENDPOINT)
    child = os.fork()
    if child == 0:
        theirs = limiter(tmp_path, endpoint_rate=10)
        for _ in range(3):
            theirs.wait(ENDPOINT)
        os._exit(9)
    os.waitpid(child, 0)
    pause = mine.wait(ENDPOINT)
    assert time.monotonic() + pause - begun >= 4 / 10
    mine.close()


def test_a_file_that_is_damaged_holds_nobody_up(tmp_path):
    """Half a record is as good as none."""
    mine = limiter(tmp_path)
    [file] = tmp_path.iterdir()
    file.write_bytes(b"\xff" * 11)
    assert mine.wait(ENDPOINT) == 0
    mine.close()
