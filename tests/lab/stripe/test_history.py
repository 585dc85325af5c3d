"""Histories: random, repeatable, and with a truth that can be checked."""

from __future__ import annotations

import time

import pytest
import stripe

from tests.lab.stripe import FakeStripe


def shape_of(fake: FakeStripe) -> list[tuple[str, str]]:
    return [(each["type"], each["data"]["object"]["id"]) for each in fake.events()]


def test_the_same_seed_the_same_history(fake: FakeStripe) -> None:
    """Two fakes with one seed go through the same events of the same objects."""
    fake.random_history(150, seed=11)
    first = shape_of(fake)
    fake.reset()
    fake.random_history(150, seed=11)
    assert shape_of(fake) == first
    fake.reset()
    fake.random_history(150, seed=12)
    assert shape_of(fake) != first


def test_everything_happens(fake: FakeStripe) -> None:
    """A long history contains every action, in the hours that it should."""
    happened = fake.random_history(800, seed=1, seconds=3600, until_seconds_ago=600)
    assert set(happened) >= {"customer.delete", "subscription.renew", "charge.refund", "invoice.void"}
    assert len(happened) >= 18
    moments = [each["created"] for each in fake.events()]
    now = time.time()
    assert moments == sorted(moments)
    assert now - 4300 < min(moments) <= max(moments) < now - 500
    assert len(set(moments)) < len(moments) / 2


@pytest.mark.parametrize("seed", range(3))
def test_the_last_event_of_an_object_is_its_truth(fake: FakeStripe, client: stripe.StripeClient, seed: int) -> None:
    """Whoever applied every event in the order they were made, and looked at ties again, holds the truth."""
    fake.random_history(200, seed=seed)
    last = {each["data"]["object"]["id"]: each["data"]["object"] for each in fake.events()}
    truth = fake.truth()
    for table in ("subscriptions", "invoices", "payments"):
        for id_, row in truth[table].items():
            assert (last[id_]["status"], last[id_]["customer"]) == (row["status"], row["customer_id"])
    assert set(truth["customers"]) | fake.deleted() == {id_ for id_ in last if id_.startswith("cus_")}
    some = next(iter(truth["subscriptions"]))
    assert client.v1.subscriptions.retrieve(some).status == truth["subscriptions"][some]["status"]


def test_missing_events_are_announced(fake: FakeStripe) -> None:
    """A history may lose the events of a share of its steps; each lost one has a thin event."""
    fake.random_history(200, seed=5, missing=0.2)
    lost = [each["data"]["impact"] for each in fake.thin_events()]
    fake.reset()
    fake.random_history(200, seed=5, missing=0)
    assert lost
    assert all(each["event_type"] and each["related_object"]["id"] for each in lost)


def test_a_seeded_shop_changes_as_any_other(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """What was seeded can be changed, listed with the change, and has no events before."""
    counts = fake.seed(customers=300, subscriptions_per_customer=2)
    assert counts["subscription"] == counts["invoice"] == counts["payment_intent"] == 600
    assert fake.events() == []
    truth = fake.truth()
    some = next(id_ for id_, row in truth["subscriptions"].items() if row["status"] == "active")
    fake.act("subscription.update", subscription=some, quantity=77)
    owner = truth["subscriptions"][some]["customer_id"]
    listed = {each.id: each for each in client.v1.subscriptions.list({"customer": owner, "status": "all"}).data}
    assert len(listed) == 2
    assert listed[some]["items"].data[0].quantity == 77
    after = fake.truth("subscriptions")["subscriptions"]
    assert {id_ for id_ in after if after[id_] != truth["subscriptions"][id_]} == {some}


def test_a_seeded_shop_is_whole(fake: FakeStripe) -> None:
    """Every subscription has its customer, every payment its invoice, and all eight statuses occur."""
    fake.seed(customers=1500)
    truth = fake.truth()
    assert {row["customer_id"] for row in truth["subscriptions"].values()} == set(truth["customers"])
    assert {row["subscription_id"] for row in truth["invoices"].values()} == set(truth["subscriptions"])
    assert {row["invoice_id"] for row in truth["payments"].values()} == set(truth["invoices"])
    assert len({row["status"] for row in truth["subscriptions"].values()}) == 8
    assert {"usd", "jpy", "kwd"} <= {row["currency"] for row in truth["customers"].values()}


def test_a_million_subscriptions(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """They are there within seconds, and a page in their middle costs no more than the first."""
    begun = time.monotonic()
    fake.seed(customers=1_000_000, invoices=False)
    assert time.monotonic() - begun < 10
    middle = "sub_1S0010000500000"
    begun = time.monotonic()
    page = client.raw_request("get", "/v1/subscriptions", limit=100, status="all", starting_after=middle).data
    assert time.monotonic() - begun < 1
    assert page["data"][0]["id"] == "sub_1S0010000499999"
