"""The replay against a Stripe over a socket and a real PostgreSQL."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from threading import Thread

import pytest

from flows.stripe_requeue import stripe_requeue
from tasks.stripe.requeue_state import RequeuePolicy
from tests.flows.paper_stripe import PaperStripe
from tests.flows.stripe_scene import Scene, deliver, scene_on

WRITES = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"


@pytest.fixture
def scene(saved, ledger_server) -> Iterator[Scene]:
    """Give a shop whose blocks are saved, beside an empty Stripe."""
    with scene_on(ledger_server) as it:
        yield it


def history(stripe: PaperStripe, seed: int, steps: int = 60) -> None:
    """Let things happen in any order, with ties and deletions."""
    rng = random.Random(seed)
    things = [stripe.put("customers") for _ in range(6)]
    things += [stripe.put("subscriptions") for _ in range(6)] + [stripe.put("invoices") for _ in range(6)]
    names = {"customer": "customer", "subscription": "customer.subscription", "invoice": "invoice"}
    for _ in range(steps):
        thing = rng.choice(things)
        kind, age = thing["object"] + "s", rng.choice([600, 600, 1800, 3000])
        if kind == "customers" and rng.random() < 0.1:
            stripe.event("customer.deleted", stripe.delete(kind, thing["id"]), age=age)
            things.remove(thing)
            continue
        change = {"customers": {"email": f"{rng.random()}@x"}, "invoices": {"amount_due": rng.randrange(1000)}}
        facts = change.get(kind) or {"status": rng.choice(["active", "past_due", "unpaid"])}
        now = stripe.put(kind, id=thing["id"], **facts)
        stripe.event(f"{names[thing['object']]}.{rng.choice(['created', 'updated'])}", now, age=age)


def assert_true(scene: Scene) -> None:
    """Every object that was touched is as Stripe has it, and every effect is there once."""
    touched = {e["data"]["object"]["id"] for e in scene.stripe.events}
    rows = scene.rows(
        "SELECT id, email, stripe_deleted_at IS NOT NULL FROM customers"
        " UNION ALL SELECT id, status, stripe_deleted_at IS NOT NULL FROM subscriptions"
        " UNION ALL SELECT id, amount_due::text, stripe_deleted_at IS NOT NULL FROM invoices"
    )
    truth = {}
    for kind, field in (("customers", "email"), ("subscriptions", "status"), ("invoices", "amount_due")):
        truth |= {k: str(o[field]) for k, o in scene.stripe.objects[kind].items() if not o.get("deleted")}
    assert {key: value for key, value, gone in rows if not gone} == {k: v for k, v in truth.items() if k in touched}
    due = sorted(e["id"] for e in scene.stripe.events if e["type"] == "customer.subscription.created")
    assert sorted(row[0] for row in scene.rows("SELECT event_id FROM event_effects")) == due


@pytest.mark.parametrize("seed", range(3))
def test_after_any_history_the_rows_are_true_and_a_second_run_does_nothing(scene, seed):
    """Some events were delivered, some twice, some lost: all are done once, and nothing is left."""
    history(scene.stripe, seed)
    shop, rng = scene.shop(), random.Random(seed)
    for event in rng.choices(scene.stripe.events, k=25):
        deliver(shop, event)
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert_true(scene)
    assert set(scene.statuses()) == {e["id"] for e in scene.stripe.events}
    before = scene.rows(WRITES)
    assert scene.run().name == "NothingToDo"
    assert scene.rows(WRITES) == before
    assert {method for method, _ in scene.stripe.requests} == {"GET"}


def test_a_dry_run_changes_nothing(scene):
    """Stripe saw only GETs, the database no write, and the report says what would be done."""
    history(scene.stripe, 7)
    before = scene.rows(WRITES)
    state = scene.run(dry_run=True)
    assert state.name == "NothingToDo", state.message
    assert "60 events" in state.message
    assert (scene.rows(WRITES), scene.statuses()) == (before, {})
    assert {method for method, _ in scene.stripe.requests} == {"GET"}


def test_more_objects_than_pages_are_listed(scene):
    """Three hundred objects cost three pages, not three hundred requests."""
    for _ in range(300):
        scene.stripe.event("customer.updated", scene.stripe.put("customers"))
    assert scene.run().name == "Recovered"
    assert sum("/v1/customers" in path for _, path in scene.stripe.requests) == 3


def test_a_poison_event_is_given_up_and_the_rest_goes_on(scene):
    """Its error is kept; mended and requeued, it is done too."""
    history(scene.stripe, 3, 20)
    bad = scene.stripe.event("invoice.paid", scene.stripe.put("invoices", id="in_bad"))
    fine = scene.stripe.event("invoice.paid", scene.stripe.put("invoices", id="in_bad"))
    scene.rows(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no such mailbox'; END $$"
    )
    scene.rows(
        "CREATE TRIGGER mail AFTER INSERT ON event_effects FOR EACH ROW"
        f" WHEN (NEW.event_id = '{bad['id']}') EXECUTE FUNCTION poison()"
    )
    state = scene.run(attempts=2)
    assert state.name == "Recovered", state.message
    assert scene.statuses()[bad["id"]] == "dead"
    assert scene.statuses()[fine["id"]] in {"processed", "superseded"}
    assert "no such mailbox" in scene.rows("SELECT error FROM stripe_events WHERE status = 'dead'")[0][0]

    shown = stripe_requeue("shop", RequeuePolicy(dry_run=True), return_state=True)
    assert "invoice.paid" in shown.result(raise_on_failure=False).plan.why
    assert scene.statuses()[bad["id"]] == "dead"
    scene.rows("DROP TRIGGER mail ON event_effects")
    assert stripe_requeue("shop", RequeuePolicy(classes=("effect",)), return_state=True).name == "Recovered"
    assert scene.run().name == "Recovered"
    assert scene.statuses()[bad["id"]] in {"processed", "superseded"}


def test_a_key_that_is_withdrawn_in_the_middle_stops_everything_and_burns_no_attempt(scene):
    """A 401 is no fault of the events; run again with a good key, all of them are done."""
    history(scene.stripe, 5)
    count = itertools.count()

    def withdrawn(path: str, _query: dict[str, str]):
        late = path.count("/") == 3 and next(count) > 3
        return (401, {"error": {"message": "Invalid API Key"}}, {}) if late else None

    for _ in range(10):  # payments are always retrieved
        scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents"))
    scene.stripe.fault = withdrawn
    state = scene.run()
    assert state.name == "NeedsHuman"
    assert "does not let this key in" in state.message
    assert scene.rows("SELECT max(attempts) FROM stripe_events WHERE status = 'received'") == [(0,)]
    assert "dead" not in scene.statuses().values()
    scene.stripe.fault = lambda _path, _query: None
    assert scene.run().name == "Recovered"
    assert scene.rows("SELECT count(*) FROM payments") == [(10,)]


def test_what_stripe_refuses_for_good_is_dead_at_once_and_what_it_has_not_is_buried(scene):
    """A 400 is not tried again; a 404 is a tombstone, which is a success."""
    gone = scene.stripe.put("payment_intents", id="pi_gone")
    scene.stripe.event("payment_intent.created", gone)
    assert scene.run().name == "Recovered"
    scene.stripe.event("payment_intent.canceled", scene.stripe.delete("payment_intents", "pi_gone"))
    odd = scene.stripe.event("payment_intent.created", scene.stripe.put("payment_intents", id="pi_odd"))
    refusal = (400, {"error": {"message": "Odd."}}, {})
    scene.stripe.fault = lambda path, _query: refusal if path.endswith("/pi_odd") else None
    assert scene.run().name == "Recovered"
    assert scene.statuses()[odd["id"]] == "dead"
    assert scene.rows("SELECT stripe_deleted_at IS NOT NULL FROM payments WHERE id = 'pi_gone'") == [(True,)]


def test_types_that_are_none_of_ours_are_kept_and_said(scene):
    """So is an event whose object has no id to ask for."""
    scene.stripe.event("radar.new_thing", {"object": "radar.thing", "id": "rt_1"})
    scene.stripe.event("invoice.upcoming", {"object": "invoice"})
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert set(scene.statuses().values()) == {"skipped"}
    assert "radar.new_thing" in "".join(state.result(raise_on_failure=False).unverified)


def test_a_window_beyond_thirty_days_is_refused(scene):
    """The sentence leads to the resync."""
    state = scene.run(hours=721)
    assert state.name == "Refused"
    assert "stripe-resync" in state.message
    assert scene.stripe.requests == []


def test_another_account_and_another_mode_are_refused(scene):
    """Before anything is written."""
    scene.stripe.event("customer.created", scene.stripe.put("customers"))
    scene.stripe.fault = lambda path, _query: (200, {"id": "acct_other"}, {}) if path == "/v1/account" else None
    assert "acct_other" in scene.run().message
    scene.stripe.fault = lambda _path, _query: None
    scene.stripe.livemode = True
    scene.stripe.event("customer.created", scene.stripe.put("customers"))
    state = scene.run()
    assert (state.name, scene.statuses()) == ("Refused", {})
    assert "wrong key" in state.message


def test_a_replay_and_the_live_endpoint_at_once_do_everything_once(scene):
    """Two deliveries of each event race the replay; no effect is doubled and none is missing."""
    history(scene.stripe, 11)
    shop = scene.shop()
    racers = [Thread(target=lambda: [deliver(shop, e) for e in scene.stripe.events]) for _ in range(2)]
    for racer in racers:
        racer.start()
    state = scene.run()
    for racer in racers:
        racer.join()
    assert state.name in {"Recovered", "NothingToDo"}, state.message
    assert scene.run().name in {"Recovered", "NothingToDo"}
    assert_true(scene)


def test_what_stripe_could_never_tell_is_looked_up(scene):
    """The event that names lost objects brings exactly those up to date."""
    lost = scene.stripe.put("subscriptions", id="sub_lost", status="past_due")
    body = {
        "id": "evt_health", "object": "v2.core.event", "type": "v2.core.health.event_generation_failure.resolved",
        "created": "2026-01-01T00:00:00.000Z", "livemode": False,
        "data": {"impact": {"related_object": {"id": lost["id"], "type": "subscription"}}},
    }  # fmt: skip
    deliver(scene.shop(careless=True), body)
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert scene.rows("SELECT status FROM subscriptions WHERE id = 'sub_lost'") == [("past_due",)]


def test_an_endpoint_that_says_yes_and_dies_and_one_that_was_disabled_are_made_up_for(scene):
    """What was received and never done is done; so is what Stripe never sent at all, whatever it calls delivered."""
    received = [scene.stripe.event("customer.subscription.created", scene.stripe.put("subscriptions")) for _ in "ab"]
    for event in received:
        deliver(scene.shop(careless=True), event)
    scene.stripe.event("customer.subscription.created", scene.stripe.put("subscriptions"), pending_webhooks=0)
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert_true(scene)
    assert scene.rows("SELECT source, count(*) FROM stripe_events GROUP BY 1 ORDER BY 1") == [
        ("replay", 1),
        ("webhook", 2),
    ]


def test_what_fails_for_a_while_is_tried_again_after_its_pause(scene):
    """A 500 that passes costs an attempt of the client, not of the event; one that stays is written down."""
    scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id="pi_slow"))
    count = itertools.count()
    trouble = (500, {"error": {"message": "Trouble."}}, {})
    scene.stripe.fault = lambda path, _query: trouble if path.endswith("/pi_slow") and next(count) < 2 else None
    assert scene.run().name == "Recovered"
    assert scene.rows("SELECT status, attempts FROM stripe_events") == [("processed", 1)]


def test_events_of_connected_accounts_are_asked_of_their_account(scene):
    """Their rows come from requests in their name, and their events are kept under it."""
    scene.change_account(connected_accounts=["acct_paper2"])
    scene.stripe.fault = lambda path, _query: (
        (200, {"id": "acct_paper2" if scene.stripe.on_behalf_of else "acct_paper"}, {})
        if path == "/v1/account"
        else None
    )
    scene.stripe.event("customer.created", scene.stripe.put("customers"), account="acct_paper2")
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert scene.rows("SELECT account, status FROM stripe_events") == [("acct_paper2", "processed")]


def test_another_run_is_not_needed_when_an_event_is_held_for_a_moment(scene):
    """An event that the live endpoint is at work on is waited for, and done when its lease is over."""
    event = scene.stripe.event("customer.created", scene.stripe.put("customers"))
    deliver(scene.shop(careless=True), event)
    scene.stripe.event("customer.updated", scene.stripe.put("customers"))
    scene.rows("UPDATE stripe_events SET status = 'processing', lease_until = now() + interval '1 second'")
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert scene.run().name in {"Recovered", "NothingToDo"}
    assert set(scene.statuses().values()) == {"processed"}
