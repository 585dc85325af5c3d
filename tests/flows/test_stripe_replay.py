"""The replay as a flow: outcomes, reports and the gate; what it does is shown in tests/tasks/stripe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.stripe_requeue import stripe_requeue
from tasks.stripe.requeue_state import RequeuePolicy
from tests.flows.stripe_past import assert_true, history
from tests.flows.stripe_scene import Scene, scene_on
from tests.tasks.stripe.test_replay import UNKNOWN_KEY, poison

WRITERS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"  #: the next transaction that writes anything


@pytest.fixture
def scene(saved, ledger_server) -> Iterator[Scene]:
    """Give a shop whose blocks are saved, beside an empty Stripe."""
    with scene_on(ledger_server) as it:
        yield it


def test_a_dry_run_changes_nothing(scene):
    """Stripe saw only GETs, no transaction of the database wrote, and the report says what would be done."""
    history(scene.stripe, 7)
    before = scene.rows(WRITERS)
    state = scene.run(dry_run=True)
    assert state.name == "NothingToDo", state.message
    assert "60 events" in state.message
    assert (scene.rows(WRITERS), scene.statuses()) == (before, {})
    assert {method for method, _ in scene.stripe.requests} == {"GET"}


def test_a_dead_letter_is_mended_put_back_and_done(scene):
    """The replay tells of it, the requeue shows its error and gives it back, the next replay does it."""
    history(scene.stripe, 3, 10)
    bad = scene.stripe.event("invoice.paid", scene.stripe.put("invoices", id="in_bad"))
    poison(scene, bad["id"])
    state = scene.run(attempts=1)
    assert state.name == "Recovered", state.message
    shown = stripe_requeue("shop", RequeuePolicy(dry_run=True), return_state=True)
    assert "no such mailbox" in shown.result(raise_on_failure=False).plan.why
    assert scene.statuses()[bad["id"]] == "dead"
    scene.rows("DROP TRIGGER mail ON event_effects")
    assert stripe_requeue("shop", RequeuePolicy(classes=("effect",)), return_state=True).name == "Recovered"
    assert scene.run().name == "Recovered"
    assert scene.statuses()[bad["id"]] in {"processed", "superseded"}
    assert scene.run().name == "NothingToDo"


def test_a_key_that_is_withdrawn_after_the_gate_needs_a_human_and_before_it_changes_nothing(scene):
    """The outcomes of the two, and the sentence that says what to correct."""
    scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents"))
    scene.stripe.fault = lambda path, _query: UNKNOWN_KEY if path.startswith("/v1/payment_intents/") else None
    state = scene.run()
    assert state.name == "NeedsHuman"
    assert "does not let this key in" in state.message
    scene.stripe.fault = lambda _path, _query: UNKNOWN_KEY
    assert scene.run().name == "Refused"


def test_a_window_beyond_thirty_days_is_refused_without_a_request(scene):
    """The sentence leads to the resync."""
    state = scene.run(hours=721)
    assert (state.name, scene.stripe.requests) == ("Refused", [])
    assert "stripe-resync" in state.message
    assert_true(scene)
