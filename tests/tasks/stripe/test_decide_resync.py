"""What a comparison leads to: repair, nothing, or a refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.stripe.decide_resync import decide_resync, keeper_of
from tasks.stripe.decide_undo import decide_undo, judge_undo
from tasks.stripe.judge_resync import judge_resync, unlooked
from tasks.stripe.policies import ResyncPolicy, UndoPolicy
from tasks.stripe.state import Change, Changes, Drift, Duplicate, Orphan, Repaired, ResyncPlan, Several, TableDrift

AT = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
TWINS = Duplicate(customer="cus_1", users=(1, 2), keeper=1, why="owns the live subscriptions")


def seen(*, ours: int = 1000, more: dict[str, Any] | None = None, **counts: int) -> Drift:
    table = TableDrift(table="customers", stripe=ours, ours=ours, **counts)
    fields = {"resource": "recovery.stripe.shop", "at": AT, "account": "acct_1", "tables": (table,), "digest": "d"}
    return Drift(**fields | (more or {}))


def plan(**counts: int) -> ResyncPlan:
    made = decide_resync(seen(**counts), ResyncPolicy(duplicates="repair")).plan
    assert made is not None
    return made


def after(**facts: Any) -> Repaired:
    table = TableDrift(table="customers", stripe=1, ours=1, **facts.pop("counts", {}))
    return Repaired(at=AT, tables=(table,), **facts)


@pytest.mark.parametrize(
    ("ours", "vanish", "verdict"),
    [
        (6, 5, "go"),  # five rows may always vanish
        (1000, 10, "go"),  # one percent
        (1000, 11, "refuse"),
        (100_000, 100, "go"),
        (100_000, 101, "refuse"),  # whatever the share
        (6, 6, "refuse"),  # the database of another account
    ],
)
@pytest.mark.parametrize("how", ["tombstone", "unconfirmed"])
def test_many_rows_that_vanish_are_the_wrong_key(ours, vanish, verdict, how):
    """Confirmed or not: the sentence names the account, and nothing is changed."""
    decision = decide_resync(seen(ours=ours, **{how: vanish, "update": 1}), ResyncPolicy())
    assert decision.verdict == verdict
    assert verdict == "go" or "acct_1" in decision.why


def test_the_policy_says_what_is_only_reported():
    """What is not to be repaired is no reason to act, but is said."""
    policy = ResyncPolicy(missing="report", deleted="report")
    decision = decide_resync(seen(insert=3, tombstone=2), policy)
    assert decision.verdict == "nothing"
    assert "5 differences are only reported" in decision.why
    assert decide_resync(seen(insert=3, update=1), policy).plan.changes == 1


def test_more_changes_than_allowed_are_refused():
    """The sentence names the field of the form."""
    assert "max_changes" in decide_resync(seen(update=11), ResyncPolicy(max_changes=10)).why


def test_what_nobody_may_decide_by_rule_is_said():
    """Users who are several customers, customers who are several users, payments of nobody: named, and counted."""
    orphan = Orphan(payment="pi_1", table="customers", parent="cus_9", healed=False)
    facts = {
        "duplicates": (TWINS,),
        "several": (Several(user="7", customers="cus_2, cus_3"),),
        "orphans": (orphan,),
        "more": {"orphans": 1234},
    }
    found = seen(more=facts)
    decision = decide_resync(found, ResyncPolicy())
    assert decision.verdict == "nothing"
    for said in (
        "cus_1",
        "users who are several customers: 1 (7)",
        "payments without their customer or invoice: 1,234",
    ):
        assert said in decision.why
    lines = unlooked(found, after(), ResyncPolicy())
    assert any("There are 1,224 more such" in line for line in lines)
    assert any(line.startswith("User 7 is the customers cus_2, cus_3") for line in lines)


@pytest.mark.parametrize(
    ("users", "owner", "live", "keeper"),
    [((1, 2), 2, True, 2), ((1, 2), 3, True, None), ((1, 2), None, True, None), ((1, 2), 1, False, None)],
)
def test_only_the_owner_of_live_subscriptions_keeps_a_customer(users, owner, live, keeper):
    """Otherwise a person must look, and is told why."""
    found, why = keeper_of(users, owner, live=live)
    assert found == keeper
    assert why


def test_taking_a_customer_from_a_user_needs_a_person():
    """Only when the policy wants it repaired; the question names who loses it."""
    found = seen(more={"duplicates": (TWINS,)})
    assert decide_resync(found, ResyncPolicy()).verdict == "nothing"
    made = decide_resync(found, ResyncPolicy(duplicates="repair")).plan
    assert "cus_1 stays with user 1 and is taken from 2" in made.ask


@pytest.mark.parametrize(
    ("facts", "holds"),
    [
        ({}, True),
        ({"counts": {"update": 1}, "left": ("customers cus_1",), "left_rows": 1}, False),
        ({"counts": {"unconfirmed": 1}}, False),  # nobody asked Stripe for it: no proof
        ({"moving": ("customers cus_1",), "moving_rows": 1}, True),
    ],
)
def test_drift_after_must_be_nothing(facts, holds):
    """What changed in Stripe meanwhile is no drift, but is listed."""
    (evidence,) = judge_resync(plan(update=1), after(**facts))
    assert evidence.holds is holds
    lines = unlooked(seen(update=1), after(**facts), ResyncPolicy())
    assert any("not yet so here: customers cus_1" in line for line in lines) is bool(facts.get("moving"))


def test_an_undo_needs_a_run_and_rows_that_stand():
    """A mistyped id is refused, rows that moved on are named, and the rest must be as before."""
    at = {"resource": "r", "at": AT, "run_id": "x"}
    none = Changes(**at)
    assert decide_undo(none, UndoPolicy(run_id="x")).verdict == "refuse"
    assert decide_undo(none, UndoPolicy()).verdict == "refuse"
    moved = Changes(**at, tables=(Change(table="customers", stands=0, given_back=0, moved=("cus_1",), moved_rows=1),))
    assert "customers cus_1" in decide_undo(moved, UndoPolicy(run_id="x")).why
    stands = Changes(**at, tables=(Change(table="customers", stands=2, given_back=0),))
    made = decide_undo(stands, UndoPolicy(run_id="x")).plan
    back = Changes(**at, tables=(Change(table="customers", stands=0, given_back=2),))
    assert judge_undo(made, back)[0].holds
    assert not judge_undo(made, stands)[0].holds
