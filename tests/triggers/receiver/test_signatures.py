"""Tokens, signatures and the replay window, in tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.triggers.receiver import signatures
from flows.triggers.receiver.signatures import (
    REPLAY_SECONDS,
    judge_generic,
    judge_grafana,
    judge_pagerduty,
    known_token,
    sign,
    stale,
    versioned,
)

SECRET, BODY, NOW = "s" * 20, b'{"a": 1}', 1_800_000_000.0
STAMP = str(int(NOW))


def generic(body: bytes = BODY, secret: str = SECRET, stamp: str = STAMP, signed: str = STAMP) -> dict[str, str]:
    signature = sign(secret, signed.encode() + b"." + body)
    return {signatures.GENERIC_TIMESTAMP: stamp, signatures.GENERIC_SIGNATURE: f"v1={signature}"}


def test_a_known_hmac() -> None:
    """HMAC-SHA256 as everybody else computes it (RFC 4231, case 2)."""
    assert sign("Jefe", b"what do ya want for nothing?").startswith("5bdcc146bf60754e6a042426089575c7")


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ("Bearer right", True),
        ("bearer right", True),
        ("Bearer  right", True),
        ("Bearer wrong", False),
        ("Bearer rightx", False),
        ("Bearer ", False),
        ("", False),
        ("right", False),
        ("Basic right", False),
        ("Bearer r\xefght", False),
    ],
)
def test_bearer_tokens(header: str, known: bool) -> None:
    """Only the whole token in the Bearer scheme is let in; an empty one never is."""
    assert known_token(header, ["other", "right", ""]) is known


def test_signatures_of_a_generic_call() -> None:
    """Right is let in; another body, secret, time or version is not."""
    assert judge_generic(generic(), BODY, ["old" * 9, SECRET], NOW) == ""
    for headers in (
        generic(body=b"{}"),
        generic(secret="x" * 20),
        generic(signed=str(int(NOW) - 1)),
        generic() | {signatures.GENERIC_SIGNATURE: "v0=" + sign(SECRET, STAMP.encode() + b"." + BODY)},
        generic() | {signatures.GENERIC_SIGNATURE: ""},
    ):
        assert "does not fit" in judge_generic(headers, BODY, [SECRET], NOW)
    assert "generic_secrets" in judge_generic(generic(), BODY, [], NOW)
    assert "old" in judge_generic(generic(), BODY, [SECRET], NOW + REPLAY_SECONDS + 1)


def test_one_of_several_signatures_is_enough() -> None:
    """While a secret is being changed the sender signs with both; the order does not matter."""
    right, wrong = sign(SECRET, BODY), "0" * 64
    for header in (f"v1={right},v1={wrong}", f"v1={wrong}, v1={right}", f"v2=abc,v1={right}"):
        assert judge_pagerduty({signatures.PAGERDUTY_SIGNATURE: header}, BODY, [SECRET], NOW) == ""
    assert judge_pagerduty({signatures.PAGERDUTY_SIGNATURE: f"v1={wrong}"}, BODY, [SECRET], NOW)
    assert "pagerduty_secrets" in judge_pagerduty({}, BODY, [], NOW)
    assert versioned("v1=a, v1=b,v2=c,") == ["a", "b"]


def test_only_so_many_signatures_are_tried() -> None:
    """A header with a thousand signatures costs no thousand hashes."""
    header = ",".join([f"v1={'0' * 64}"] * 1000 + [f"v1={sign(SECRET, BODY)}"])
    assert judge_pagerduty({signatures.PAGERDUTY_SIGNATURE: header}, BODY, [SECRET], NOW)


def test_grafana_signs_with_and_without_a_time() -> None:
    """Both shapes of Grafana's HMAC are let in; a time that was not signed is not."""
    bare = {signatures.GRAFANA_SIGNATURE: sign(SECRET, BODY)}
    timed = {
        signatures.GRAFANA_SIGNATURE: sign(SECRET, STAMP.encode() + b":" + BODY),
        signatures.GRAFANA_TIMESTAMP: STAMP,
    }
    assert judge_grafana(bare, BODY, [SECRET], NOW) == ""
    assert judge_grafana(timed, BODY, [SECRET], NOW) == ""
    assert judge_grafana(bare | {signatures.GRAFANA_TIMESTAMP: STAMP}, BODY, [SECRET], NOW)
    assert "old" in judge_grafana(timed, BODY, [SECRET], NOW + REPLAY_SECONDS + 1)
    assert judge_grafana({}, BODY, [SECRET], NOW)


@given(st.integers(min_value=-100_000, max_value=100_000))
def test_the_replay_window(age: int) -> None:
    """A time is taken within 300 s of ours, before or after, and not a second beyond."""
    assert (stale(str(int(NOW) - age), NOW) == "") is (abs(age) <= REPLAY_SECONDS)


@pytest.mark.parametrize("text", ["", "now", "-1", "1.5", "1e9", "٣", "9" * 13, " 1800000000"])
def test_what_is_no_time(text: str) -> None:
    """A timestamp that is not whole seconds is said so."""
    assert "whole seconds" in stale(text, NOW)
