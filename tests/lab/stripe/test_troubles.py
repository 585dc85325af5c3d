"""Everything that goes wrong at Stripe can go wrong here."""

from __future__ import annotations

import time

import pytest
import stripe

from tests.lab.stripe import FakeStripe
from tests.lab.stripe.limits import Limits
from tests.lab.stripe.refusal import StripeRefusal


def asking(fake: FakeStripe, key: str = "", **options: object) -> stripe.StripeClient:
    return stripe.StripeClient(key or fake.key, base_addresses={"api": fake.url}, **options)


def test_a_wrong_key(fake: FakeStripe) -> None:
    """A key that nobody has is a 401, and so is one that was taken back."""
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        asking(fake, "sk_test_nobody").v1.customers.list()
    fake.revoke(fake.key)
    with pytest.raises(stripe.AuthenticationError):
        asking(fake).v1.customers.list()


def test_a_restricted_key(fake: FakeStripe) -> None:
    """A restricted key reads what it may and gets a 403 for everything else."""
    client = asking(fake, fake.grant("rk_test_reader", permissions=["customers"]))
    assert client.v1.customers.list().data == []
    with pytest.raises(stripe.PermissionError, match="required permissions"):
        client.v1.invoices.list()


def test_another_account(fake: FakeStripe) -> None:
    """Another account's key says so."""
    client = asking(fake, fake.grant("sk_test_stranger", "acct_stranger"))
    assert client.v1.accounts.retrieve_current().id == "acct_stranger"


def test_the_same_key_the_same_answer(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """A POST repeated with its idempotency key is answered as the first time and does nothing."""
    once = {"idempotency_key": "k1"}
    first = client.v1.customers.create({"email": "a@example.com"}, once)
    second = client.v1.customers.create({"email": "a@example.com"}, once)
    assert first.id == second.id
    assert second.last_response.headers["idempotent-replayed"] == "true"
    assert len(fake.events()) == 1


def test_the_same_key_for_something_else(client: stripe.StripeClient) -> None:
    """An idempotency key with other parameters is an error."""
    client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "b@example.com"}, {"idempotency_key": "k1"})


def test_the_limit_of_an_endpoint(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """All ids of a kind are one endpoint; beyond its rate comes 429 with the reason, and others still answer."""
    fake.faults(rate_per_endpoint=3, retry_after=2)
    made = [fake.act("customer.create")["id"] for _ in range(4)]
    for id_ in made[:3]:
        client.v1.customers.retrieve(id_)
    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.customers.retrieve(made[3])
    assert refused.value.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert refused.value.headers["retry-after"] == "2"
    assert refused.value.json_body["error"]["code"] == "rate_limit"
    assert len(client.v1.customers.list().data) == 4


def test_the_limit_of_an_account(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The account's limit counts all endpoints; another account has its own."""
    fake.faults(rate_per_account=2)
    client.v1.customers.list()
    client.v1.invoices.list()
    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.charges.list()
    assert refused.value.headers["stripe-rate-limited-reason"] == "global-rate"
    assert "retry-after" not in refused.value.headers
    fake.connect("acct_other")
    assert client.v1.charges.list(options={"stripe_account": "acct_other"}).data == []


def test_a_limit_lets_its_rate_through() -> None:
    """After a full second's worth, requests pass at the rate."""
    moment = 0.0
    limits = Limits(lambda: moment)
    limits.set(per_endpoint=25)
    passed = 0
    for tick in range(3000):
        moment = tick / 1000
        try:
            limits.admit("acct", "GET /v1/customers")
            passed += 1
        except StripeRefusal:
            pass
    assert passed == pytest.approx(25 + 3 * 25, abs=1)


def test_a_lock_timeout(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """It is a 429 with its own code, and the SDK's retries get over it."""
    fake.fail_next("lock_timeout")
    with pytest.raises(stripe.RateLimitError) as refused:
        client.v1.customers.list()
    assert refused.value.json_body["error"]["code"] == "lock_timeout"
    assert refused.value.headers["stripe-should-retry"] == "true"
    fake.fail_next("lock_timeout")
    assert asking(fake, max_network_retries=1).v1.customers.list().data == []


@pytest.mark.parametrize("kind", ["500", "503", "html"])
def test_broken_and_well_again(fake: FakeStripe, client: stripe.StripeClient, kind: str) -> None:
    """One answer is an error of Stripe's own or of a proxy, the next is good."""
    fake.fail_next(kind, "GET /v1/customers")
    assert client.v1.invoices.list().data == []
    with pytest.raises(stripe.APIError) as broken:
        client.v1.customers.list()
    assert broken.value.http_status == (502 if kind == "html" else int(kind))
    assert client.v1.customers.list().data == []


@pytest.mark.parametrize("kind", ["cut", "cut_body"])
def test_a_cut_connection(fake: FakeStripe, client: stripe.StripeClient, kind: str) -> None:
    """The connection ends before or within the answer; then it works again."""
    fake.seed(customers=10)
    fake.fail_next(kind)
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.list()
    assert len(client.v1.customers.list().data) == 10


def test_slow(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """One request is slow, or every request has its latency."""
    fake.fail_next("slow", seconds=0.2)
    begun = time.monotonic()
    client.v1.customers.list()
    assert time.monotonic() - begun >= 0.2
    fake.faults(latency_seconds=0.05)
    begun = time.monotonic()
    for _ in range(3):
        client.v1.customers.list()
    assert 0.15 <= time.monotonic() - begun < 1


def test_refused_in_the_middle(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """The key is taken back between two pages."""
    fake.seed(customers=30)
    fake.fail_next("401", after=1)
    seen = []
    with pytest.raises(stripe.AuthenticationError):
        seen += [each.id for each in client.v1.customers.list({"limit": 10}).auto_paging_iter()]
    assert [each["status"] for each in fake.requests()] == [200, 401]


def test_flaky(fake: FakeStripe) -> None:
    """A share of the requests fails at random, in every way, and the SDK's retries get over it."""
    fake.seed(customers=40)
    fake.faults(flaky=0.2, flaky_seed=5, flaky_kinds=["500", "lock_timeout", "cut"])
    client = asking(fake, max_network_retries=6)
    stripe_ids = {each.id for each in client.v1.customers.list({"limit": 10}).auto_paging_iter()}
    assert len(stripe_ids) == 40
    fake.clear_faults()
    with pytest.raises(ValueError, match="There is no fault"):
        fake.fail_next("locusts")
    with pytest.raises(ValueError, match="There is no fault"):
        fake.faults(locusts=1)
