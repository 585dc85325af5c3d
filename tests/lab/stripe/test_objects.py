"""Objects have the shape of the SDK's API version, and change together."""

from __future__ import annotations

import typing
from typing import Any

import pytest
import stripe
from stripe._object_classes import get_object_class

from tests.lab.stripe import FakeStripe

#: What an object carries although its class does not declare it, with why.
UNDECLARED = {
    "payment_intent.source": "sent by Stripe, in its own samples, for old integrations",
}
LISTS = ("customers", "subscriptions", "invoices", "payment_intents", "charges", "invoice_payments", "events")


def undeclared(shape: Any, written: dict[str, Any], where: str) -> set[str]:
    """Name the keys that no attribute of the SDK's class declares, at any depth."""
    hints = {name for each in shape.__mro__ for name in vars(each).get("__annotations__", {})}
    found = {f"{where}.{name}" for name in written if name not in hints and name != "object"}
    inner = getattr(shape, "_inner_class_types", {})
    for name, value in written.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and name != "metadata":
                kind = inner.get(name) or (get_object_class("V1", each["object"]) if "object" in each else None)
                found |= (
                    undeclared(kind, each, f"{where}.{name}") if kind and kind is not stripe.StripeObject else set()
                )
    return found


@pytest.mark.parametrize("kind", LISTS)
def test_every_key_is_declared_by_the_sdk(fake: FakeStripe, client: stripe.StripeClient, kind: str) -> None:
    """What the fake writes, seeded or made by a history, has only attributes that the SDK's class declares."""
    fake.seed(customers=20, subscriptions_per_customer=2)
    fake.random_history(80, seed=3)
    page = client.raw_request("get", f"/v1/{kind}", limit=100).data
    assert len(page["data"]) > 10
    for each in page["data"]:
        shape = get_object_class("V1", each["object"])
        assert undeclared(shape, each, each["object"]) - set(UNDECLARED) == set()


@pytest.mark.parametrize("kind", LISTS)
def test_every_status_is_one_that_the_sdk_knows(fake: FakeStripe, client: stripe.StripeClient, kind: str) -> None:
    """A status is a member of the SDK's enumeration."""
    fake.seed(customers=200)
    fake.random_history(80, seed=4)
    for each in client.raw_request("get", f"/v1/{kind}", limit=100).data["data"]:
        shape = get_object_class("V1", each["object"])
        literals = str(shape.__annotations__.get("status", ""))
        assert "status" not in each or f"'{each['status']}'" in literals or kind == "invoice_payments"


def test_no_trace_of_before_basil(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The period is the item's, an invoice names no payment and a payment no invoice: invoice payments do."""
    owner = fake.act("customer.create")["id"]
    held = client.v1.subscriptions.retrieve(fake.act("subscription.create", customer=owner)["id"])
    assert "current_period_end" not in held
    assert held["items"].data[0].current_period_end > held.created
    invoice = client.v1.invoices.retrieve(held.latest_invoice)
    assert not {"payment_intent", "charge", "subscription", "paid"} & set(invoice.to_dict())
    assert invoice.parent.subscription_details.subscription == held.id
    [link] = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    intent = client.v1.payment_intents.retrieve(link.payment.payment_intent)
    assert "invoice" not in intent
    wanted = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    assert [each.id for each in client.v1.invoice_payments.list(wanted).data] == [link.id]


def test_an_older_version_is_the_older_shape(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A request with a version before basil gets the period on the subscription and the payment on the invoice."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner)
    old = {"stripe_version": "2024-06-20"}
    shown = client.raw_request("get", f"/v1/subscriptions/{held['id']}", **old).data
    assert shown["current_period_end"] == held["items"]["data"][0]["current_period_end"]
    invoice = client.raw_request("get", f"/v1/invoices/{shown['latest_invoice']}", **old).data
    assert invoice["subscription"] == held["id"]
    intent = client.raw_request("get", f"/v1/payment_intents/{invoice['payment_intent']}", **old).data
    assert intent["invoice"] == invoice["id"]


def test_one_payment_is_many_events_of_one_second(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A subscription that is paid tells of itself, its invoice, payment and charge within one second."""
    owner = fake.act("customer.create", at=1_790_000_000)["id"]
    fake.act("subscription.create", customer=owner, at=1_790_000_060)
    told = fake.events()[1:]
    assert len({each["created"] for each in told}) == 1
    assert {each["type"] for each in told} >= {
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "payment_intent.created",
        "payment_intent.succeeded",
        "charge.succeeded",
    }


def test_an_event_shows_what_was(fake: FakeStripe) -> None:
    """The body of an event stays as it was; an update names the values before."""
    owner = fake.act("customer.create", email="a@example.com")["id"]
    fake.act("customer.update", customer=owner, email="b@example.com")
    created, updated = fake.events()
    assert created["data"]["object"]["email"] == "a@example.com"
    assert updated["data"]["object"]["email"] == "b@example.com"
    assert updated["data"]["previous_attributes"] == {"email": "a@example.com"}
    assert updated["api_version"] == stripe.api_version


@pytest.mark.parametrize(
    ("action", "seen"),
    [
        ("subscription.cancel", {"status": "canceled"}),
        ("subscription.cancel_at_period_end", {"status": "active", "cancel_at_period_end": True}),
        ("subscription.pause_collection", {"status": "active", "paused": True}),
        ("subscription.pause", {"status": "paused", "paused": False}),
    ],
)
def test_what_happens_to_a_subscription(fake: FakeStripe, action: str, seen: dict[str, object]) -> None:
    """Each action is seen in the truth, and told by one event of the subscription."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner)["id"]
    before = len(fake.events())
    fake.act(action, subscription=held)
    row = fake.truth("subscriptions")["subscriptions"][held]
    assert seen.items() <= row.items()
    [event] = fake.events()[before:]
    assert event["type"].startswith("customer.subscription.")
    assert event["data"]["object"]["id"] == held


def test_a_payment_that_fails(fake: FakeStripe) -> None:
    """The subscription is incomplete and the invoice open; paid later, everything is as if it had not failed."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner, payment="fails")
    before = fake.truth()
    [invoice] = before["invoices"].values()
    assert (before["subscriptions"][held["id"]]["status"], invoice["status"]) == ("incomplete", "open")
    fake.act("invoice.pay", invoice=invoice["id"])
    after = fake.truth()
    assert after["subscriptions"][held["id"]]["status"] == "active"
    [payment] = after["payments"].values()
    assert (payment["status"], payment["invoice_id"]) == ("succeeded", invoice["id"])
    assert payment["amount_received"] == after["invoices"][invoice["id"]]["amount_paid"] == 2000


def test_the_period_is_what_all_items_share(fake: FakeStripe) -> None:
    """The truth's period ends with the first item that ends and starts with the last that starts."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner, at=1_790_000_000)["id"]
    changed = fake.act("subscription.add_items", subscription=held, days=7, at=1_790_001_000)
    ends = {each["current_period_end"] for each in changed["items"]["data"]}
    row = fake.truth("subscriptions")["subscriptions"][held]
    assert row["current_period_end"].timestamp() == min(ends)
    assert row["current_period_start"].timestamp() == 1_790_001_000


def test_a_refund(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Refunds add up on the charge and end when nothing is left."""
    owner = fake.act("customer.create")["id"]
    paid = fake.act("payment.create", customer=owner, amount=100, currency="jpy")["id"]
    fake.act("charge.refund", payment_intent=paid, amount=30)
    fake.act("charge.refund", payment_intent=paid)
    assert fake.truth("payments")["payments"][paid]["refunded_amount"] == 100
    with pytest.raises(ValueError, match="greater than unrefunded amount"):
        fake.act("charge.refund", payment_intent=paid, amount=1)
    assert client.v1.charges.list({"payment_intent": paid}).data[0].refunded


def test_accounts_do_not_see_each_other(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Objects and events belong to an account and a mode; a connected account is asked with Stripe-Account."""
    fake.connect("acct_other")
    theirs = fake.act("customer.create", account="acct_other")["id"]
    live = fake.act("customer.create", livemode=True)["id"]
    assert client.v1.customers.list().data == []
    there = {"stripe_account": "acct_other"}
    assert client.v1.customers.retrieve(theirs, options=there).id == theirs
    assert client.v1.events.list(options=there).data[0].account == "acct_other"
    assert client.v1.accounts.retrieve_current(options=there).id == "acct_other"
    in_live = stripe.StripeClient(fake.live_key, base_addresses={"api": fake.url})
    assert in_live.v1.customers.retrieve(live).livemode
    assert in_live.v1.balance.retrieve().livemode
    with pytest.raises(stripe.PermissionError):
        client.v1.customers.list(options={"stripe_account": "acct_stranger"})


def test_what_is_written_through_the_api(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The SDK's own writes change objects and tell events that name the request."""
    made = client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "k1"})
    client.v1.customers.update(made.id, {"email": "b@example.com"})
    client.v1.customers.delete(made.id)
    assert [each["type"] for each in fake.events()] == ["customer.created", "customer.updated", "customer.deleted"]
    assert fake.events()[0]["request"]["idempotency_key"] == "k1"
    with pytest.raises(stripe.InvalidRequestError, match="does not model"):
        client.v1.products.list()


def test_something_that_nobody_knows(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Unknown statuses, unknown event types and objects without an id can happen."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner)["id"]
    fake.act("subscription.set_status", subscription=held, status="hibernating")
    fake.act("event.emit", type="invoice.upcoming", about={"object": "invoice", "customer": owner})
    fake.act("event.emit", type="moon.landed", about={"object": "moon", "id": "moon_1"})
    assert client.v1.subscriptions.retrieve(held).status == "hibernating"
    assert [each.type for each in client.v1.events.list({"limit": 2}).data] == ["moon.landed", "invoice.upcoming"]


def test_the_sdk_declares_its_classes() -> None:
    """The check of the shapes would see a key that nobody declares."""
    assert undeclared(stripe.Customer, {"id": "", "nickname": ""}, "customer") == {"customer.nickname"}
    assert typing.get_type_hints(FakeStripe.act)
