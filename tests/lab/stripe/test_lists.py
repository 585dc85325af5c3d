"""Lists are Stripe's: newest first, by cursors, within seconds, with its defaults."""

from __future__ import annotations

import asyncio

import pytest
import stripe

from tests.lab.stripe import FakeStripe

NOW = 1_790_000_000


def ids(page: stripe.ListObject[stripe.Customer]) -> list[str]:
    return [each.id for each in page.data]


def customers(fake: FakeStripe, *moments: int) -> list[str]:
    return [fake.act("customer.create", at=NOW + moment)["id"] for moment in moments]


def test_newest_first(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The one created last comes first, also when it was written down in another order."""
    old, new, middle = customers(fake, 0, 20, 10)
    assert ids(client.v1.customers.list()) == [new, middle, old]


def test_ten_to_a_page(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A page has ten objects when nobody asks for more, and says that there are more."""
    fake.seed(customers=11)
    page = client.v1.customers.list()
    assert (len(page.data), page.has_more) == (10, True)
    assert not client.v1.customers.list({"limit": 11}).has_more


def test_ties_are_paged_without_loss(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Objects of one second come in one order, and the cursor goes through them."""
    made = customers(fake, *[5] * 7)
    paged = [each.id for each in client.v1.customers.list({"limit": 2}).auto_paging_iter()]
    assert paged == made[::-1]


def test_backwards(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """With ending_before the SDK's iterator is chronological."""
    made = customers(fake, 0, 1, 2, 3, 4)
    page = client.v1.customers.list({"limit": 2, "ending_before": made[0]})
    assert ids(page) == [made[2], made[1]]
    assert [each.id for each in page.auto_paging_iter()] == made[1:]


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        ({"gte": 2}, {2, 3}),
        ({"gt": 2}, {3}),
        ({"lte": 1}, {0, 1}),
        ({"lt": 1}, {0}),
        ({"gte": 1, "lt": 3}, {1, 2}),
        ({"gt": 0, "lte": 2}, {1, 2}),
    ],
)
def test_created_bounds(
    fake: FakeStripe, client: stripe.StripeClient, created: dict[str, int], seconds: set[int]
) -> None:
    """The bounds include or exclude the second they name, with all its ties."""
    customers(fake, 0, 1, 1, 2, 2, 2, 3)
    page = client.v1.customers.list({"created": {name: NOW + value for name, value in created.items()}})
    assert {each.created - NOW for each in page.data} == seconds
    assert len(page.data) == sum({0: 1, 1: 2, 2: 3, 3: 1}[second] for second in seconds)


def test_a_second_exactly(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """`created` may also be one second."""
    _, wanted, _ = customers(fake, 0, 1, 2)
    assert ids(client.v1.customers.list({"created": NOW + 1})) == [wanted]


def test_canceled_subscriptions_are_hidden(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The default list has no canceled subscription; `all`, `canceled` and `ended` have."""
    owner = fake.act("customer.create")["id"]
    kept, ended, failed = (
        fake.act("subscription.create", customer=owner, payment=payment)["id"]
        for payment in ("succeeds", "succeeds", "fails")
    )
    fake.act("subscription.cancel", subscription=ended)
    fake.act("invoice.void", invoice=client.v1.subscriptions.retrieve(failed).latest_invoice)

    def listed(**params: str) -> set[str]:
        return {each.id for each in client.v1.subscriptions.list(params).data}

    assert listed() == {kept, failed}
    assert listed(status="all") == {kept, ended, failed}
    assert listed(status="canceled") == {ended}
    assert listed(status="ended") == {ended, failed}
    assert listed(status="active", customer=owner) == {kept}


def test_a_deleted_customer(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """It is not listed, is retrieved with `deleted`, and its subscriptions are canceled; unknown ids are missing."""
    owner, other = customers(fake, 0, 1)
    held = fake.act("subscription.create", customer=owner)["id"]
    fake.act("customer.delete", customer=owner)
    assert ids(client.v1.customers.list()) == [other]
    assert client.v1.customers.retrieve(owner).deleted
    assert client.v1.subscriptions.retrieve(held).status == "canceled"
    assert fake.deleted() == {owner}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.retrieve("cus_nobody")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_items_beyond_the_first(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A subscription shows ten items and says that it has more; the others are paged."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner, items=23)["id"]
    shown = client.v1.subscriptions.retrieve(held)["items"]
    assert (len(shown.data), shown.has_more) == (10, True)
    paged = client.v1.subscription_items.list({"subscription": held, "limit": 9}).auto_paging_iter()
    assert len({each.id for each in paged}) == 23


def test_events_by_type(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Events are listed by a type, by a group of types and by several."""
    owner = fake.act("customer.create")["id"]
    fake.act("customer.update", customer=owner, email="new@example.com")

    def types(**params: object) -> list[str]:
        return [each.type for each in client.v1.events.list(params).data]

    assert types(type="customer.updated") == ["customer.updated"]
    assert types(type="customer.*") == ["customer.updated", "customer.created"]
    assert types(types=["customer.created", "invoice.paid"]) == ["customer.created"]


def test_events_end_after_thirty_days(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """An older event is neither listed nor retrieved, and the horizon can be moved."""
    customers(fake, 0)
    [event] = fake.events()
    assert client.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.events.retrieve(event["id"])
    fake.horizon(10_000)
    assert client.v1.events.retrieve(event["id"]).type == "customer.created"


def test_a_seeded_shop_is_covered_by_windows(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Half-open windows of a seeded shop hold every object once; ties never lie on both sides."""
    fake.seed(customers=150, subscriptions_per_customer=2)
    listed = [each.id for each in client.v1.subscriptions.list({"status": "all", "limit": 100}).auto_paging_iter()]
    seen = client.v1.subscriptions.list({"status": "all", "limit": 1, "starting_after": listed[149]}).data[0].created
    halves = [
        each.id
        for bounds in ({"gte": seen}, {"lt": seen})
        for each in client.v1.subscriptions.list({"status": "all", "limit": 100, "created": bounds}).auto_paging_iter()
    ]
    assert len(set(listed)) == 300
    assert halves == listed


def test_the_async_client(fake: FakeStripe) -> None:
    """The same lists through the SDK's asynchronous client."""
    fake.seed(customers=25)

    async def paged() -> list[str]:
        http = stripe.HTTPXClient()
        client = stripe.StripeClient(fake.key, base_addresses={"api": fake.url}, http_client=http)
        page = await client.v1.customers.list_async({"limit": 10})
        found = [each.id async for each in page.auto_paging_iter()]
        await http.close_async()
        return found

    assert len(set(asyncio.run(paged()))) == 25


def test_objects_change_while_they_are_listed(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Between two pages things happen, and what is new is not on the pages that follow."""
    fake.seed(customers=30)
    fake.faults(mutate_while_listed=20)
    pages = client.v1.customers.list({"limit": 10}).auto_paging_iter()
    seen = [each.id for each in pages]
    assert len(seen) == len(set(seen))
    assert len(fake.events()) > 30


def test_expanding(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Ids become objects where `expand` asks for it, and an invoice shows its payments."""
    owner = fake.act("customer.create")["id"]
    held = fake.act("subscription.create", customer=owner)["id"]
    shown = client.v1.subscriptions.retrieve(held, {"expand": ["customer", "latest_invoice.payments"]})
    assert shown.customer.id == owner
    [link] = shown.latest_invoice.payments.data
    page = client.v1.payment_intents.list({"expand": ["data.latest_charge"]})
    assert page.data[0].id == link.payment.payment_intent
    assert page.data[0].latest_charge.payment_intent == page.data[0].id
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.subscriptions.retrieve(held, {"expand": ["nothing"]})
