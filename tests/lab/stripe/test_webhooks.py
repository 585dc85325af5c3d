"""Webhooks are signed, tried again when Stripe does, and reflected in the events."""

from __future__ import annotations

import json
import time

import pytest
import stripe

from tests.lab.stripe import FakeStripe
from tests.lab.stripe.shop_window import ShopWindow

HOUR = 3600


def stands(fake: FakeStripe) -> dict[str, tuple[str, int]]:
    return {each["type"]: (each["status"], each["attempts"]) for each in fake.deliveries()}


def undelivered(client: stripe.StripeClient) -> set[str]:
    return {each.type for each in client.v1.events.list({"delivery_success": False}).data}


def test_signed_and_delivered(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """The SDK accepts the signature, and the event says that nothing is pending."""
    fake.webhook_endpoint(shop.url)
    made = fake.act("customer.create")
    assert undelivered(client) == {"customer.created"}
    assert fake.deliver()["delivered"] == 1
    [event] = shop.events(fake.webhook_secret)
    assert (event.type, event.data.object["id"]) == ("customer.created", made["id"])
    assert undelivered(client) == set()
    assert client.v1.events.retrieve(event.id).pending_webhooks == 0


def test_another_secret_does_not_fit(fake: FakeStripe, shop: ShopWindow) -> None:
    """An endpoint may have its own secret; only that one verifies."""
    fake.webhook_endpoint(shop.url, secret="whsec_other")
    fake.act("customer.create")
    fake.deliver()
    assert len(shop.events("whsec_other")) == 1
    with pytest.raises(stripe.SignatureVerificationError):
        shop.events(fake.webhook_secret)


def test_retried_by_the_clock(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """A sandbox tries three times more within hours, then gives up; the event stays undelivered."""
    shop.status = 500
    fake.webhook_endpoint(shop.url)
    fake.act("customer.create")
    fake.deliver()
    assert fake.deliver() == {"delivered": 0, "pending": 0, "failed": 0, "prevented": 0}
    fake.advance(400)
    assert stands(fake) == {"customer.created": ("pending", 2)}
    fake.advance(24 * HOUR)
    assert stands(fake) == {"customer.created": ("failed", 4)}
    assert undelivered(client) == {"customer.created"}
    assert len(shop.got) == 4


def test_retried_for_three_days_in_live_mode(fake: FakeStripe, shop: ShopWindow) -> None:
    """In live mode the last try comes within three days, and one that succeeds is the last."""
    shop.status = 503
    fake.webhook_endpoint(shop.url, livemode=True)
    fake.act("customer.create", livemode=True)
    fake.deliver()
    fake.advance(48 * HOUR)
    assert stands(fake)["customer.created"][0] == "pending"
    shop.status = 200
    fake.advance(24 * HOUR)
    status, attempts = stands(fake)["customer.created"]
    assert (status, attempts) == ("delivered", len(shop.got))
    fake.advance(48 * HOUR)
    assert len(shop.got) == attempts


def test_a_retry_is_signed_anew(fake: FakeStripe, shop: ShopWindow) -> None:
    """Every try has a signature of its own time, so that the SDK's tolerance is kept."""
    shop.status = 500
    fake.webhook_endpoint(shop.url)
    fake.act("customer.create")
    fake.deliver()
    fake.advance(24 * HOUR)
    stamps = [int(signature.split(",")[0].removeprefix("t=")) for _, signature in shop.got]
    assert all(abs(stamp - time.time()) < 60 for stamp in stamps)
    assert len(shop.events(fake.webhook_secret)) == 4


def test_created_while_disabled(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """What happened while an endpoint was disabled is never sent, and Stripe does not call it undelivered."""
    endpoint = fake.webhook_endpoint(shop.url)["id"]
    fake.act("customer.create")
    fake.set_endpoint(endpoint, "disabled")
    assert client.v1.webhook_endpoints.retrieve(endpoint).status == "disabled"
    fake.act("payment.create")
    assert fake.deliver()["prevented"] == 1
    fake.set_endpoint(endpoint, "enabled")
    fake.advance(24 * HOUR)
    assert shop.got == []
    assert undelivered(client) == {"customer.created"}
    assert client.v1.webhook_endpoints.list().data[0].id == endpoint


def test_dropped(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """A delivery can get lost in a way that Stripe sees and retries, or in one that it takes for delivered."""
    fake.webhook_endpoint(shop.url)
    fake.drop_webhooks()
    fake.act("customer.create")
    fake.deliver()
    fake.drop_webhooks(seen_as="delivered")
    fake.act("payment.create", payment="waits")
    fake.deliver()
    assert undelivered(client) == {"customer.created"}
    fake.drop_webhooks(on=False)
    fake.advance(HOUR)
    assert [event.type for event in shop.events(fake.webhook_secret)] == ["customer.created"]


def test_in_another_order_and_twice(fake: FakeStripe, shop: ShopWindow) -> None:
    """Deliveries can come shuffled and doubled."""
    fake.webhook_endpoint(shop.url)
    made = [fake.act("customer.create")["id"] for _ in range(20)]
    fake.deliver(shuffle=1, duplicates=0.5, concurrency=1)
    got = [event.data.object["id"] for event in shop.events(fake.webhook_secret)]
    assert set(got) == set(made)
    assert len(got) > 20
    assert list(dict.fromkeys(got)) != made


def test_resent_by_hand(fake: FakeStripe, shop: ShopWindow) -> None:
    """An event that was delivered can be sent again."""
    fake.webhook_endpoint(shop.url)
    fake.act("customer.create")
    fake.deliver()
    [event] = fake.events()
    assert list(fake.redeliver(event["id"]).values()) == [200]
    assert len(shop.got) == 2


def test_wanted_types_and_connected_accounts(fake: FakeStripe, shop: ShopWindow) -> None:
    """An endpoint gets the types it wants; one for Connect gets those of the connected accounts, with their name."""
    fake.webhook_endpoint(shop.url, enabled_events=["customer.deleted"], connect=True)
    fake.connect("acct_other")
    made = fake.act("customer.create", account="acct_other")["id"]
    fake.act("customer.delete", customer=made, account="acct_other")
    fake.deliver()
    [event] = shop.events(fake.webhook_secret)
    assert (event.type, event.account) == ("customer.deleted", "acct_other")


def test_at_once(fake: FakeStripe, shop: ShopWindow) -> None:
    """With auto_deliver nobody has to ask."""
    fake.webhook_endpoint(shop.url)
    fake.auto_deliver()
    fake.act("customer.create")
    deadline = time.monotonic() + 5
    while not shop.got and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(shop.got) == 1


def test_a_pinned_endpoint_gets_the_older_shape(fake: FakeStripe, shop: ShopWindow) -> None:
    """The body has the version of the endpoint, the list that of the account."""
    fake.webhook_endpoint(shop.url, api_version="2024-06-20", enabled_events=["customer.subscription.created"])
    owner = fake.act("customer.create")["id"]
    fake.act("subscription.create", customer=owner)
    fake.deliver()
    [event] = shop.events(fake.webhook_secret)
    assert event.api_version == "2024-06-20"
    assert event.data.object["current_period_end"] > 0
    [listed] = [each for each in fake.events() if each["type"] == "customer.subscription.created"]
    assert "current_period_end" not in listed["data"]["object"]


def test_an_event_that_was_never_generated(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """No list has it; a thin event, listed and delivered, names its type and object."""
    fake.webhook_endpoint(shop.url)
    made = fake.act("customer.create", generated=False)["id"]
    assert client.v1.events.list().data == []
    [thin] = client.v2.core.events.list().data
    fake.deliver()
    [(body, signature)] = shop.got
    with pytest.raises(ValueError, match="thin event"):
        client.construct_event(body, signature, fake.webhook_secret)
    notification = client.parse_event_notification(body, signature, fake.webhook_secret)
    assert notification.type == "v2.core.health.event_generation_failure.resolved"
    event = notification.fetch_event()
    assert event.id == thin.id
    impact = json.loads(json.dumps(event.to_dict()))["data"]["impact"]
    assert impact["event_type"] == "customer.created"
    assert impact["related_object"] == {"id": made, "type": "customer", "url": f"/v1/customers/{made}"}


def test_a_thin_event_and_its_object(fake: FakeStripe, client: stripe.StripeClient, shop: ShopWindow) -> None:
    """The object of a thin event is fetched by the SDK from the address in it; lists are filtered and paged."""
    fake.webhook_endpoint(shop.url)
    made = fake.act("customer.create", generated=False)["id"]
    related = {"id": made, "type": "customer", "url": f"/v1/customers/{made}"}
    for _ in range(3):
        fake.act("event.emit_thin", type="v2.lab.thing.happened", data={}, related=related)
    fake.deliver()
    one = next(each for each in shop.got if b"v2.lab" in each[0])  # several are on their way at once
    notification = client.parse_event_notification(*one, fake.webhook_secret)
    assert notification.fetch_related_object().id == made
    paged = client.v2.core.events.list({"limit": 2, "types": ["v2.lab.thing.happened"]})
    assert len(paged.data) == 2
    assert len(client.v2.core.events.list({"object_id": made}).data) == 3
    assert len(list(client.v2.core.events.list({"limit": 3}).auto_paging_iter())) == 4
