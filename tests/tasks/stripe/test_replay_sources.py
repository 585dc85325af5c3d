"""What a replay asks of Stripe: no more than it needs, of all that there is, and what nobody was ever told."""

from __future__ import annotations

from tests.flows.stripe_scene import deliver


def test_more_objects_than_pages_are_listed_and_payments_are_asked_no_more_than_needed(scene):
    """Three hundred customers cost three pages, a hundred payments one and one for their invoices; alone it is two."""
    for _ in range(300):
        scene.stripe.event("customer.updated", scene.stripe.put("customers"))
    for number in range(101):
        scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id=f"pi_{number:03}"))
    scene.rows("INSERT INTO payments (id, invoice_id, livemode) VALUES ('pi_000', 'in_known', false)")
    assert scene.rehearse().name == "Recovered"
    asked = [path.partition("?")[0] for _, path in scene.stripe.requests]
    assert [asked.count(f"/v1/{kind}") for kind in ("customers", "payment_intents", "invoice_payments")] == [3, 1, 1]
    assert asked.count("/v1/payment_intents/pi_000") == 1  # the second page would have had one
    assert scene.rows("SELECT invoice_id, count(*) FROM payments GROUP BY 1 ORDER BY 1") == [
        ("in_known", 1),
        (None, 100),
    ]
    scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id="pi_alone"))
    assert scene.rehearse().name == "Recovered"
    asked = [path.partition("?")[0] for _, path in scene.stripe.requests]
    assert asked.count("/v1/payment_intents/pi_alone") == 1
    assert [asked.count(f"/v1/{kind}") for kind in ("payment_intents", "invoice_payments")] == [1, 2]


def test_a_list_that_cannot_go_on_and_an_object_of_an_odd_shape_hold_nobody_up(scene):
    """Who is not on the first page is asked for alone; the odd one is a dead letter, and all others are done."""
    for number in range(103):
        scene.stripe.event("customer.updated", scene.stripe.put("customers", id=f"cus_{number:03}"))
    odd = scene.stripe.event("customer.updated", scene.stripe.put("customers", id="cus_odd", email=["x"]))
    gone = (400, {"error": {"message": "No such customer.", "code": "resource_missing"}}, {})
    scene.stripe.fault = lambda path, query: gone if path == "/v1/customers" and "starting_after" in query else None
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT count(*) FROM customers") == [(103,)]
    dead = scene.rows("SELECT event_id, error_class, error FROM stripe_events WHERE status = 'dead'")
    assert [row[:2] for row in dead] == [(odd["id"], "permanent")]
    assert "cus_odd has not the shape that is known (email)" in dead[0][2]


def test_too_many_events_stop_the_listing(scene):
    """No more pages are listed than it takes to know; the refusal says what was found, and nothing is kept."""
    for _ in range(900):
        scene.stripe.event("customer.updated", scene.stripe.put("customers", id="cus_1"), age=600)
    ended = scene.rehearse(max_events=150)
    assert ended.name == "Refused"
    assert ended.message.startswith("200 events that nobody has done were found when the listing was stopped")
    assert sum(path.startswith("/v1/events") for _, path in scene.stripe.requests) < 9
    assert scene.statuses() == {}


def test_many_types_are_asked_for_in_groups(scene):
    """Stripe takes twenty at once; the events of all twenty-five come."""
    kinds = [f"lab.kind_{number:02}" for number in range(25)]
    for kind in (*kinds, "lab.other"):
        scene.stripe.event(kind, {"object": "lab.thing", "id": "x_1"})
    ended = scene.rehearse(types=tuple(kinds))
    assert ended.name == "Recovered", ended.message
    assert scene.rows("SELECT count(*), count(*) FILTER (WHERE type = 'lab.other') FROM stripe_events") == [(25, 0)]


def test_what_stripe_could_never_tell_is_looked_up_though_nobody_was_told(scene):
    """The announcement is listed; the objects it names, asked for one by one, are brought up to date."""
    lost = scene.stripe.put("subscriptions", id="sub_lost", status="past_due")
    told = scene.stripe.never_made(lost)
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert scene.rows("SELECT status FROM subscriptions WHERE id = 'sub_lost'") == [("past_due",)]
    assert scene.statuses() == {told["id"]: "processed"}
    assert scene.rehearse().name == "NothingToDo"


def test_an_announcement_that_a_webhook_brought_is_left_to_the_replay_by_the_endpoint(scene):
    """The webhook is thin: which objects it is about is asked of Stripe."""
    told = scene.stripe.never_made(scene.stripe.put("invoices", id="in_lost", amount_due=7))
    deliver(scene.shop(), {name: value for name, value in told.items() if name != "data"})
    assert scene.statuses() == {told["id"]: "received"}
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT amount_due FROM invoices WHERE id = 'in_lost'") == [(7,)]


def test_a_charge_that_is_named_leads_to_its_payment(scene):
    """Of a charge only Stripe can say which payment it is of; one that is gone names nothing."""
    scene.stripe.put("payment_intents", id="pi_lost", amount=9)
    scene.stripe.objects["charges"] = {"ch_1": {"id": "ch_1", "object": "charge", "payment_intent": "pi_lost"}}
    lost = [scene.stripe.never_made({"id": name, "object": "charge"}) for name in ("ch_1", "ch_gone")]
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT id, amount FROM payments") == [("pi_lost", 9)]
    assert [scene.statuses()[event["id"]] for event in lost] == ["processed", "skipped"]


def test_an_announcement_about_an_account_that_is_not_connected_is_a_dead_letter(scene):
    """Its error says what to add to the block."""
    told = scene.stripe.never_made(scene.stripe.put("customers"), context="acct_strange")
    assert scene.rehearse().name == "Recovered"
    assert scene.statuses() == {told["id"]: "dead"}
    assert "acct_strange is not among connected_accounts" in scene.rows("SELECT error FROM stripe_events")[0][0]
