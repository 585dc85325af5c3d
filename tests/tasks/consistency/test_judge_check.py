"""Whether a look has something new, and what it says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tasks.consistency.judge_check import grown, judge_rules, sum_up
from tasks.consistency.state import Finding, Seen

AT = datetime(2026, 11, 29, 3, 41, tzinfo=UTC)


def seen(**found: int | None) -> Seen:
    findings = tuple(
        Finding(rule=rule, kind="orphan", found=number or 0, unseen="" if number is not None else "no right")
        for rule, number in found.items()
    )
    return Seen(resource="r", target="shop", at=AT, where="here", definition="d", findings=findings)


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ({}, {"a": 0}, False),
        ({}, {"a": 1}, True),
        ({}, {"a": None}, True),
        ({"a": 1}, {"a": 1}, False),
        ({"a": 2}, {"a": 1}, False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": 1}, {"a": None}, True),
        ({"a": None}, {"a": None}, False),
        ({"a": None}, {"a": 1}, True),
        ({"a": 5}, {"a": 4, "b": 1}, True),
        ({"a": 5, "b": 1}, {"a": 1, "b": 5}, True),
    ],
)
def test_what_is_new_or_has_grown_is_told(before, now, new):
    """Less is no news, nor is what was told before; a rule by itself counts, not the sum."""
    assert grown(seen(**now), before) is new


def test_what_could_not_be_looked_at_does_not_hold():
    """It is never taken for a rule that holds, and is named in the sentence."""
    it = seen(a=0, b=3, c=None)
    assert [evidence.holds for evidence in judge_rules(it)] == [True, False, False]
    assert sum_up(it) == "1 of 3 rules are broken: b: 3. 1 could not be looked at: c."
    assert sum_up(seen(a=0, b=0)) == "All 2 rules hold."
