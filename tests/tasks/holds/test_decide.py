"""Holding and lifting: a table, and the law that deciding again after it was done finds it done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.holds.decide import Asked, HoldPolicy, Seen, Standing, decide_hold, judge_hold

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ASKED = Asked(target="orders", reason="storage is being moved", by="ada")
NONE = Seen(at=AT)


def held(target="orders", until=AT + timedelta(hours=4)):
    return Seen(at=AT, holds=(Standing(resource=target, starts_at=AT, until=until, reason="old reason"),))


@pytest.mark.parametrize(
    ("seen", "hours", "asked", "verdict", "said"),
    [
        (NONE, 4, ASKED, "go", "Begin nothing on orders from 2026-11-22 03:00 UTC to 2026-11-22 07:00 UTC: storage"),
        (held(), 4, ASKED, "go", "Begin nothing on orders"),
        (NONE, 4, Asked(target="*", reason="x"), "go", "Begin nothing on everything"),
        (NONE, 4, Asked(target="orders"), "refuse", "Say in reason why"),
        (NONE, 4, Asked(target="orders", reason="  "), "refuse", "Say in reason why"),
        (NONE, 4, Asked(target=" ", reason="x"), "refuse", "Say in target"),
        (NONE, 0, ASKED, "nothing", "Orders is not held."),
        (held("billing"), 0, ASKED, "nothing", "Orders is not held."),
        (held("*"), 0, ASKED, "nothing", "Orders is not held."),
        (held(), 0, Asked(target="orders"), "go", "Lift the hold on orders that was placed because: old reason"),
    ],
)
def test_the_table(seen, hours, asked, verdict, said):
    """Each case, with its sentence."""
    decision = decide_hold(seen, HoldPolicy(hours=hours), asked)
    assert (decision.verdict, decision.why.startswith(said)) == (verdict, True)


def test_a_planned_freeze_begins_later():
    """From and until both move."""
    plan = decide_hold(NONE, HoldPolicy(hours=2, starts_in_hours=24), ASKED).plan
    assert (plan.starts_at, plan.until) == (AT + timedelta(hours=24), AT + timedelta(hours=26))


def test_two_looks_at_the_same_world_give_the_same_plan():
    """A minute later it is still the plan that was approved; another reason is another plan."""
    later = NONE.model_copy(update={"at": AT + timedelta(minutes=1)})
    first, second = (decide_hold(seen, HoldPolicy(), ASKED).plan for seen in (NONE, later))
    other = decide_hold(NONE, HoldPolicy(), ASKED.model_copy(update={"reason": "another"})).plan
    lifted = decide_hold(held(), HoldPolicy(hours=0), ASKED).plan
    assert first.digest == second.digest
    assert len({first.digest, other.digest, lifted.digest}) == 3


@given(st.floats(min_value=0, max_value=1440), st.floats(min_value=0, max_value=1440))
def test_what_was_done_is_seen_to_hold(hours, starts_in):
    """Deciding, doing and judging agree for any form."""
    seen = held()
    plan = decide_hold(seen, HoldPolicy(hours=hours, starts_in_hours=starts_in), ASKED).plan
    standing = Standing(resource="orders", starts_at=plan.starts_at, until=plan.until or AT, reason="r")
    after = Seen(at=AT, holds=() if plan.until is None else (standing,))
    assert all(evidence.holds for evidence in judge_hold(plan, after))


def test_what_was_not_done_does_not_hold():
    """A hold that is still there, one that is not there, one that ends at another time."""
    place, lift = (decide_hold(held(), HoldPolicy(hours=hours), ASKED).plan for hours in (2, 0))
    assert not judge_hold(lift, held())[0].holds
    assert not judge_hold(place, NONE)[0].holds
    assert not judge_hold(place, held())[0].holds


@pytest.mark.parametrize("form", [{"hours": -1}, {"hours": 24 * 61}, {"starts_in_hours": -1}])
def test_a_form_out_of_range_is_not_one(form):
    """Nothing is held for years by a slip."""
    with pytest.raises(ValidationError):
        HoldPolicy(**form)
