"""The replay itself against a Stripe over a socket and a real PostgreSQL, without Prefect."""

from __future__ import annotations

import random
import time
from threading import Thread

import pytest

from blocks.stripe_errors import StripeStopped
from tests.flows.stripe_past import assert_true, history
from tests.flows.stripe_scene import deliver, serving

REFUSAL = (400, {"error": {"message": "Odd."}}, {})
UNKNOWN_KEY = (401, {"error": {"message": "Invalid API Key"}}, {})
LACKS_A_RIGHT = (403, {"error": {"message": "The key lacks a permission.", "code": "more_permissions_required"}}, {})
#: Longer than a request is worth waiting for, so that the lookup ends at once.
LATER = (429, {"error": {"message": "Slow down.", "code": "rate_limit"}}, {"Retry-After": "300"})


def attempts(scene):
    return scene.rows("SELECT event_id, status, attempts FROM stripe_events ORDER BY 1")


@pytest.mark.parametrize("seed", range(3))
def test_after_any_history_the_rows_are_true_and_a_second_run_does_nothing(scene, seed):
    """Some events were delivered, some twice, some lost, with ties and deletions: all are done once."""
    history(scene.stripe, seed)
    shop, rng = scene.shop(), random.Random(seed)
    for event in rng.choices(scene.stripe.events, k=25):
        deliver(shop, event)
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert_true(scene)
    assert set(scene.statuses()) == {e["id"] for e in scene.stripe.events}
    before = scene.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    assert scene.rehearse().name == "NothingToDo"
    assert scene.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text") == before  # no transaction wrote


def test_a_replay_and_the_live_endpoint_at_once_do_everything_once(scene):
    """Two deliveries of each event race the replay; no effect is doubled and none is missing."""
    history(scene.stripe, 11)
    shop = scene.shop()
    racers = [Thread(target=lambda: [deliver(shop, e) for e in scene.stripe.events]) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert scene.rehearse().name in {"Recovered", "NothingToDo"}
    for racer in racers:
        racer.join()
    assert scene.rehearse().name in {"Recovered", "NothingToDo"}
    assert_true(scene)


def test_two_replays_at_once_do_everything_once_even_without_a_lease(scene):
    """The lease is to spare work; what keeps effects from being doubled is the claim."""
    history(scene.stripe, 12)
    ends = []
    racers = [Thread(target=lambda: ends.append(scene.rehearse().name)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert {"Recovered"} <= set(ends) <= {"Recovered", "NothingToDo"}
    assert_true(scene)


def test_a_key_that_is_withdrawn_in_the_middle_stops_everything_and_burns_no_attempt(scene):
    """A 401 is no fault of the events: not one attempt is counted, and with a good key all of them are done."""
    paid(scene, 60)
    looks = iter(range(1000))
    late = lambda path, _query: UNKNOWN_KEY if path.startswith("/v1/payment_intents/") and next(looks) > 30 else None  # noqa: E731 - one line of a fault
    scene.stripe.fault = late
    with pytest.raises(StripeStopped, match="does not let this key in"):
        scene.rehearse(workers=1)
    rows = attempts(scene)
    assert {(status, count) for _, status, count in rows} == {("received", 0), ("processed", 1)}
    scene.stripe.fault = lambda _path, _query: None
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT count(*) FROM payments") == [(60,)]


def paid(scene, count: int) -> None:
    """Let payments be made, and so many newer ones that a list of them would not help: each must be asked for."""
    for number in range(count):
        scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id=f"pi_{number}"))
    for number in range(100):
        scene.stripe.put("payment_intents", id=f"pi_new_{number}", created=int(time.time()))


@pytest.mark.parametrize("refused", ["/v1/events", "/v1/account"])
def test_a_key_that_may_not_look_changes_nothing(scene, refused):
    """A restricted key without the right to list is a sentence for a person, before anything is written."""
    scene.stripe.event("customer.created", scene.stripe.put("customers"))
    scene.stripe.fault = lambda path, _query: LACKS_A_RIGHT if path == refused else None
    with pytest.raises(StripeStopped, match="Correct the StripeAccount block"):
        scene.rehearse()
    assert scene.statuses() == {}


def test_a_key_that_may_not_see_thin_events_goes_on_and_says_so(scene):
    """The rest is done; the report names what was not looked at."""
    scene.stripe.event("customer.created", scene.stripe.put("customers"))
    scene.stripe.fault = lambda path, _query: LACKS_A_RIGHT if path.startswith("/v2/") else None
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert any(said.startswith("Thin events were not looked at: Stripe does not let") for said in ended.unverified)


def test_a_poison_event_is_given_up_and_the_rest_goes_on(scene):
    """Its error is kept, and the other events of the same object are done."""
    history(scene.stripe, 3, 20)
    bad = scene.stripe.event("invoice.paid", scene.stripe.put("invoices", id="in_bad"))
    fine = scene.stripe.event("invoice.paid", scene.stripe.put("invoices", id="in_bad"))
    poison(scene, bad["id"])
    ended = scene.rehearse(attempts=2)
    assert ended.name == "Recovered", ended.message
    assert scene.statuses()[bad["id"]] == "dead"
    assert scene.statuses()[fine["id"]] in {"processed", "superseded"}
    assert "no such mailbox" in scene.rows("SELECT error FROM stripe_events WHERE status = 'dead'")[0][0]
    assert ended.unverified[0].startswith("1 events are dead letters")


def poison(scene, event_id: str) -> None:
    scene.rows(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no such mailbox'; END $$"
    )
    scene.rows(
        "CREATE TRIGGER mail AFTER INSERT ON event_effects FOR EACH ROW"
        f" WHEN (NEW.event_id = '{event_id}') EXECUTE FUNCTION poison()"
    )


def test_what_stripe_refuses_for_good_is_dead_at_once_and_what_it_has_not_is_buried(scene):
    """A 400 is not tried again; a 404 is a tombstone, which is a success."""
    gone = scene.stripe.put("payment_intents", id="pi_gone")
    scene.stripe.event("payment_intent.created", gone)
    assert scene.rehearse().name == "Recovered"
    scene.stripe.event("payment_intent.canceled", scene.stripe.delete("payment_intents", "pi_gone"))
    paid(scene, 0)
    odd = scene.stripe.event("payment_intent.created", scene.stripe.put("payment_intents", id="pi_odd"))
    scene.stripe.fault = lambda path, _query: REFUSAL if path.endswith("/pi_odd") else None
    assert scene.rehearse().name == "Recovered"
    assert scene.statuses()[odd["id"]] == "dead"
    assert scene.rows("SELECT stripe_deleted_at IS NOT NULL FROM payments WHERE id = 'pi_gone'") == [(True,)]


def test_types_that_are_none_of_ours_are_kept_and_said(scene):
    """So is an event whose object has no id to ask for; one that has an effect of ours has it all the same."""
    scene.stripe.event("radar.new_thing", {"object": "radar.thing", "id": "rt_1"})
    scene.stripe.event("invoice.upcoming", {"object": "invoice"})
    ended = scene.rehearse(effects=("invoice.upcoming=send-notice",))
    assert ended.name == "Recovered", ended.message
    assert sorted(scene.statuses().values()) == ["processed", "skipped"]
    assert scene.rows("SELECT handler FROM event_effects") == [("send-notice",)]
    assert "radar.new_thing" in ended.unverified[0]


def test_a_row_that_does_not_take_an_object_is_a_dead_letter_and_an_odd_character_is_none(scene):
    """The other objects of the same transaction are done; what PostgreSQL cannot keep of a text is replaced."""
    for name in ("cus_1", "cus_bad", "cus_2"):
        scene.stripe.event("customer.created", scene.stripe.put("customers", id=name) | {"description": "a\0b"})
    scene.rows("ALTER TABLE customers ADD CHECK (id <> 'cus_bad')")
    ended = scene.rehearse(attempts=1)
    assert ended.name == "Recovered", ended.message
    assert scene.rows("SELECT object_id, error_class FROM stripe_events WHERE status = 'dead'") == [
        ("cus_bad", "state")
    ]
    assert scene.rows("SELECT id FROM customers ORDER BY 1") == [("cus_1",), ("cus_2",)]


def test_a_row_of_a_later_look_and_one_that_has_come_to_its_end_are_left(scene):
    """The event is superseded, and its effect happens all the same."""
    for name, row in (("in_1", "'open', 'infinity'"), ("in_2", "'paid', '-infinity'")):
        scene.stripe.event("invoice.payment_failed", scene.stripe.put("invoices", id=name, amount_due=5))
        scene.rows(f"INSERT INTO invoices (id, livemode, status, stripe_observed_at) VALUES ('{name}', false, {row})")
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT amount_due FROM invoices") == [(None,), (None,)]
    assert set(scene.statuses().values()) == {"superseded"}
    assert scene.rows("SELECT handler FROM event_effects") == [("send-reminder",), ("send-reminder",)]


@pytest.mark.parametrize("case", ["other account", "other mode", "live database", "column"])
def test_the_wrong_account_mode_database_or_table_is_refused_before_anything_is_written(scene, case):
    """Wrong key, other account, test key against a live database, a table that does not fit: each has its sentence."""
    scene.stripe.livemode = case == "other mode"
    scene.stripe.event("customer.created", scene.stripe.put("customers"))
    if case == "other account":
        scene.stripe.fault = lambda path, _query: (200, {"id": "acct_other"}, {}) if path == "/v1/account" else None
        with pytest.raises(StripeStopped, match="belongs to acct_other, and the block says acct_paper"):
            scene.rehearse()
    elif case == "live database":
        scene.rows("INSERT INTO invoices (id, livemode) VALUES ('in_real', true)")
        ended = scene.rehearse()
        assert (ended.name, scene.stripe.requests) == ("Refused", [])
        assert "The rows of invoices are of live mode" in ended.message
    elif case == "column":
        scene.rows("ALTER TABLE stripe_events DROP COLUMN next_attempt_at")
        ended = scene.rehearse()
        assert (ended.name, scene.stripe.requests) == ("Refused", [])
        assert "next_attempt_at" in ended.message
    else:
        ended = scene.rehearse()
        assert ended.name == "Refused"
        assert "wrong key" in ended.message
    assert scene.rows("SELECT count(*) FROM stripe_events") == [(0,)]


def test_an_endpoint_that_says_yes_and_dies_and_one_that_was_disabled_are_made_up_for(scene):
    """What was received and never done is done; so is what Stripe never sent at all, whatever it calls delivered."""
    received = [scene.stripe.event("customer.subscription.created", scene.stripe.put("subscriptions")) for _ in "ab"]
    for event in received:
        deliver(scene.shop(careless=True), event)
    scene.stripe.event("customer.subscription.created", scene.stripe.put("subscriptions"), pending_webhooks=0)
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert ended.plan.undelivered == 2
    assert_true(scene)
    assert scene.rows("SELECT source, count(*) FROM stripe_events GROUP BY 1 ORDER BY 1") == [
        ("replay", 1),
        ("webhook", 2),
    ]


def test_what_fails_is_tried_again_when_it_is_due_and_not_before_unless_a_person_asks(scene):
    """Retry-After is kept in the table: another run waits for it too, and with at_once it does not."""
    scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id="pi_slow"))
    scene.stripe.fault = lambda path, _query: LATER if path.endswith("/pi_slow") else None
    ended = scene.rehearse(wait_seconds=0)
    assert ended.name == "Unverified"
    due = "SELECT status, attempts, next_attempt_at > now() + interval '250 seconds' FROM stripe_events"
    assert scene.rows(due) == [("retry", 1, True)]

    scene.stripe.fault = lambda _path, _query: None
    ended = scene.rehearse(wait_seconds=0)
    assert ended.name == "Unverified"
    assert ended.unverified[0] == "1 events wait for their next attempt: run this again, or with at_once."
    assert scene.rows(due) == [("retry", 1, True)]

    assert scene.rehearse(wait_seconds=0, at_once=True).name == "Recovered"
    assert scene.rows("SELECT status, attempts FROM stripe_events") == [("processed", 2)]


def test_an_outage_of_stripe_is_no_fault_of_the_events(scene):
    """After ten looks in a row without an answer the run stops; the other events keep all their attempts."""
    paid(scene, 40)
    scene.stripe.fault = lambda path, _query: LATER if path.startswith("/v1/payment_intents/") else None
    with pytest.raises(Exception, match="asks to wait"):
        scene.rehearse(workers=1)
    [(tried,)] = scene.rows("SELECT count(*) FROM stripe_events WHERE attempts > 0")
    assert 10 <= tried < 20


def test_events_of_connected_accounts_are_asked_of_their_account(scene):
    """Their rows come from requests in their name, and their events are kept under it."""
    scene.account = scene.account.model_copy(update={"connected_accounts": ["acct_paper2"]})
    scene.stripe.fault = lambda path, _query: (
        (200, {"id": "acct_paper2" if scene.stripe.on_behalf_of else "acct_paper"}, {})
        if path == "/v1/account"
        else None
    )
    scene.stripe.event("customer.created", scene.stripe.put("customers"), account="acct_paper2")
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert scene.rows("SELECT account, status FROM stripe_events") == [("acct_paper2", "processed")]


def test_an_event_that_the_live_endpoint_is_at_work_on_is_waited_for(scene):
    """Its lease is respected, and when it is over the event is done in the same run."""
    deliver(scene.shop(careless=True), scene.stripe.event("customer.created", scene.stripe.put("customers")))
    scene.rows(
        "UPDATE stripe_events SET status = 'processing', claimed_by = 'endpoint', lease_until = now() + interval '1 s'"
    )
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert scene.statuses().popitem()[1] == "processed"
    assert sum("/v1/customers/" in path for _, path in scene.stripe.requests) == 1


def test_who_has_lost_his_claim_cannot_settle_it(scene):
    """The lease of the endpoint ended and another took the event: what the first did is rolled back."""
    event = scene.stripe.event("invoice.paid", scene.stripe.put("invoices"))
    slow = scene.shop()

    def taken(path: str, _query: object) -> None:
        if path.startswith("/v1/invoices/"):
            scene.rows("UPDATE stripe_events SET claimed_by = 'another', lease_until = now() + interval '9 s'")

    scene.stripe.fault = taken
    deliver(slow, event)
    assert scene.rows("SELECT status, claimed_by FROM stripe_events") == [("processing", "another")]
    assert scene.rows("SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM event_effects)") == [(0, 0)]


def test_events_are_sent_once_to_an_application_that_only_speaks_http(scene):
    """Each is signed anew, the endpoint does it, and it is not sent again while the endpoint is at it."""
    for _ in range(3):
        scene.stripe.event("customer.subscription.created", scene.stripe.put("subscriptions"))
    with serving(scene.shop()) as url:
        ended = scene.rehearse(mode="post", endpoint_url=url)
    assert ended.name == "Recovered", ended.message
    assert_true(scene)
    assert scene.rows("SELECT max(attempts) FROM stripe_events") == [(1,)]
