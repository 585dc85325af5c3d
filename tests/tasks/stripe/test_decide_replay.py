"""What a replay decides, and when it may say that it worked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stripe.decide_replay import (
    CAP_SECONDS,
    backoff,
    decide_replay,
    figures_of,
    judge_replay,
    tallied,
    unlooked,
    worth_listing,
)
from tasks.stripe.decide_requeue import decide_requeue, judge_requeue
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_state import Backlog, Event, ReplayPlan, Seen
from tasks.stripe.requeue_state import Letter

STATUSES = ["processed", "superseded", "skipped", "dead", "retry", "received", "processing", "missing"]
OPEN = {"retry", "received", "processing", "missing"}


def event(number: int, status: str = "", table: str = "invoices", kind: str = "invoice.paid") -> Event:
    return Event("acct_1", f"evt_{number}", kind, table, f"in_{number % 3}", 1.0, "", False, "{}", status)


def seen(**facts: object) -> Seen:
    return Seen(**{"resource": "recovery.stripe.shop", "at": 100.0, "since": 0.0, "until": 90.0} | facts)


def planned(count: int, **facts: object) -> ReplayPlan:
    events = [event(n) for n in range(count)]
    decision = decide_replay(Backlog(seen(stripe=count, **facts), events), ReplayPolicy())
    assert decision.plan
    return decision.plan


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 1e4), st.floats(0, 1))
def test_a_pause_is_never_shorter_than_stripe_asked_for_and_never_longer_than_the_cap(attempt, retry_after, chance):
    """Full jitter: anything from nothing to the cap, and Retry-After wins over both."""
    pause = backoff(attempt, retry_after, lambda low, high: low + (high - low) * chance)
    assert retry_after <= pause <= max(retry_after, CAP_SECONDS)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30))
def test_the_longest_pause_doubles_until_the_cap(attempt):
    """So many attempts, so much patience."""
    longest = [backoff(each, 0, lambda _low, high: high) for each in (attempt, attempt + 1)]
    assert longest[1] == min(CAP_SECONDS, 2 * longest[0])


@pytest.mark.parametrize(
    ("wanted", "found", "list_on"),
    [
        (1, None, False),
        (2, None, True),
        (50, 2, True),
        (50, 1, False),
        (50, 0, False),
        (1, 90, False),
        (0, None, False),
    ],
)
def test_a_page_is_listed_only_while_it_answers_more_than_one_request_would(wanted, found, list_on):
    """The first page is a try; a page that answered one object or none was the last."""
    assert worth_listing(wanted, found) is list_on


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"hours": 721}, "run stripe-resync"),
        ({"types": ("invoice.*",)}, "invoice.* is not"),
        ({"mode": "post"}, "Say in endpoint_url"),
        ({"effects": ("invoice.paid",)}, "type=effect"),
    ],
)
def test_a_form_that_cannot_be_done_is_refused_with_what_to_change(policy, sentence):
    """Nobody need be asked for that."""
    decision = decide_replay(Backlog(seen(), [event(1)]), ReplayPolicy(**policy))
    assert decision.verdict == "refuse"
    assert sentence in decision.why


def test_problems_and_too_many_events_are_refused():
    """The second says what was found, and whether the listing was stopped for it."""
    assert decide_replay(Backlog(seen(problems=("Wrong key.",))), ReplayPolicy()).why == "Wrong key."
    events = [event(n) for n in range(3)]
    whole = decide_replay(Backlog(seen(stripe=3), events), ReplayPolicy(max_events=2))
    cut = decide_replay(Backlog(seen(stripe=3, cut=True), events), ReplayPolicy(max_events=2))
    assert (whole.verdict, cut.verdict) == ("refuse", "refuse")
    assert whole.why.startswith("3 events that nobody has done were found, and max_events allows 2")
    assert "when the listing was stopped, at 3 events of Stripe's" in cut.why


def test_when_every_event_is_done_there_is_nothing_to_do():
    """The sentence gives the numbers."""
    decision = decide_replay(Backlog(seen(stripe=6, already=3, aside=2, dead=1)), ReplayPolicy(hours=2))
    assert decision.verdict == "nothing"
    assert decision.why == (
        "Every one of the 6 events of the last 2 h is done: 3 applied, 2 set aside, 1 dead letters."
    )


def test_a_plan_counts_what_was_never_received_and_what_was_not_finished():
    """Its effects and types are those of the form and of the events."""
    events = [event(1), event(2, "retry"), event(3, "received", kind="invoice.voided")]
    plan = decide_replay(Backlog(seen(stripe=8, own=1, already=6), events), ReplayPolicy(effects=("a=b", "a=c"))).plan
    assert plan
    assert (plan.events, plan.new, plan.objects, plan.already) == (3, 1, 3, 6)
    assert plan.why.startswith(
        "3 of 9 events were not done: 1 had never been received, 2 were received and not finished."
    )
    assert plan.by_type == (("invoice.paid", 2), ("invoice.voided", 1))
    assert plan.effects == (("a", "b"), ("a", "c"))


def test_the_same_events_are_the_same_plan_whatever_else_was_counted():
    """A person who approves it approves these events; more of them would be another plan."""
    events = [event(n) for n in range(4)]
    plans = [
        decide_replay(Backlog(seen(stripe=4 + n, already=n, at=100.0 + n, thin="x" * n), each), ReplayPolicy()).plan
        for n, each in enumerate((events, events[::-1], events[:3]))
    ]
    assert plans[0]
    assert plans[1]
    assert plans[2]
    assert plans[0].digest == plans[1].digest != plans[2].digest


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(STATUSES), min_size=1), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_events_are_conserved_and_a_missing_one_is_noticed(statuses, already, aside, dead):
    """The sum is right exactly when nothing waits, and wrong as soon as one event is not in it."""
    beside = {"already": already, "aside": aside, "dead": dead}
    plan = planned(len(statuses)).model_copy(update=beside | {"stripe": len(statuses) + already + aside + dead})
    whole, left, *_ = judge_replay(plan, tallied(plan, statuses))
    ended = not OPEN & set(statuses)
    assert (whole.holds, left.holds) == (ended, ended)
    lost, *_ = judge_replay(plan, tallied(plan, statuses[1:]))
    assert not lost.holds


def test_events_of_our_own_and_those_that_are_left_alone_are_in_the_sum():
    """Older rows of ours count as seen, and what came in just now is named in the claim."""
    plan = planned(2).model_copy(update={"own": 1, "left_alone": 1, "stripe": 2})
    claim, *_ = judge_replay(plan, tallied(plan, ["processed", "processed"]))
    assert (claim.seen, claim.holds) == ("3 = 2 + 0 + 0 + 0 + 0 + 1", True)
    assert claim.claim.endswith("+ dead + left alone")


@pytest.mark.parametrize(("entered", "holds"), [(2, True), (1, False), (3, False)])
def test_each_effect_is_there_once_or_it_is_said(entered, holds):
    """Of an application that does its own effects nothing can be said."""
    plan = planned(2)
    after = tallied(plan, ["processed"] * 2).model_copy(update={"effects_due": 2, "effects": entered})
    assert judge_replay(plan, after)[2].holds is holds
    assert len(judge_replay(plan.model_copy(update={"mode": "post"}), after)) == 2
    assert figures_of(plan, after)["effects"] == entered


def test_what_was_not_done_is_said():
    """Unknown types, dead letters, waiting events, thin events, and always the limit of what events can tell."""
    plan = planned(3).model_copy(update={"unknown": ("radar.x",), "thin": "the key lacks a right"})
    said = unlooked(plan, tallied(plan, ["dead", "retry", "skipped"]))
    assert [each.split()[0] for each in said] == ["Kept", "1", "1", "Thin", "Objects"]
    plain = planned(1)
    assert len(unlooked(plain, tallied(plain, ["processed"]))) == 1


def test_dead_letters_are_put_back_and_seen_to_be():
    """Without any there is nothing to do; one that is still given up is said."""
    letters = [
        Letter(account="acct_1", event_id=f"evt_{n}", type="invoice.paid", error_class="effect", error="no mailbox")
        for n in range(2)
    ]
    assert decide_requeue([], "r", 1.0).verdict == "nothing"
    plan = decide_requeue(letters, "r", 1.0).plan
    assert plan
    assert plan.why == "2 events were given up (2x invoice.paid: effect: no mailbox)."
    assert [judge_requeue(plan, left)[0].holds for left in ([], letters[:1])] == [True, False]
