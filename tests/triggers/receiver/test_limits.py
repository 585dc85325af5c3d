"""Token buckets and what counts as JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.triggers.receiver.limits import MOST_CALLERS, Buckets, Rejection, parse


def test_a_burst_and_then_a_rate() -> None:
    """Five at once, then one every half second, and the wait is said."""
    buckets = Buckets(per_second=2, burst=5)
    assert [buckets.wait("a", 10.0) for _ in range(5)] == [0] * 5
    assert buckets.wait("a", 10.0) == pytest.approx(0.5)
    assert buckets.wait("b", 10.0) == 0
    assert buckets.wait("a", 10.5) == 0
    with pytest.raises(Rejection) as rejected:
        buckets.spend("a", 10.5, "Slower.")
    assert (rejected.value.status, rejected.value.retry_after) == (429, 1)


@given(st.lists(st.floats(min_value=0, max_value=10), min_size=1, max_size=200))
def test_never_more_than_burst_and_rate(gaps: list[float]) -> None:
    """However the calls lie, no more are let in than the burst and what was refilled since."""
    buckets, now, granted = Buckets(per_second=3, burst=4), 0.0, 0
    for gap in gaps:
        now += gap
        granted += buckets.wait("a", now) == 0
    assert granted <= 4 + 3 * now + 1e-6


def test_callers_are_forgotten() -> None:
    """A flood of addresses does not fill the memory."""
    buckets = Buckets(per_second=1, burst=1)
    for n in range(MOST_CALLERS + 10):
        buckets.wait(str(n), 0.0)
    assert len(buckets._level) == MOST_CALLERS  # noqa: SLF001 - there is no other way to see it


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_garbage(body: bytes) -> None:
    """What is no JSON object, or none that every database can keep, is a 400 with a sentence."""
    with pytest.raises(Rejection) as rejected:
        parse(body)
    assert rejected.value.status == 400
    assert rejected.value.sentence.startswith("The body")


def test_an_object() -> None:
    """JSON that is in order is read."""
    assert parse('{"a": {"b": [1, "é"]}}'.encode()) == {"a": {"b": [1, "é"]}}
