"""Random histories of a stateful Stripe with a known truth: after the replay every touched row equals it."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.stripe_account import StripeAccount
from tasks.stripe.event_subject import about
from tests.flows.stripe_scene import Scene, serving, shop_on
from tests.lab.stripe import FakeStripe

TABLES = ("customers", "subscriptions", "invoices", "payments")
EFFECTS = (
    "customer.subscription.created",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
)
OURS = {"user_id"}  #: columns that only the application fills


@pytest.fixture(scope="module")
def one_stripe() -> Iterator[FakeStripe]:
    """One process for all tests of this file."""
    with FakeStripe() as fake:
        yield fake


@pytest.fixture
def fake(one_stripe) -> FakeStripe:
    """Give it with nothing in it."""
    one_stripe.reset()
    return one_stripe


@pytest.fixture
def scene(saved, ledger_server, fake) -> Iterator[Scene]:
    """Give a shop that is paid through the fake."""
    account = StripeAccount(
        secret_key=SecretStr(fake.key), account=fake.account, livemode=False, database="shop-db", api_base=fake.url,
        webhook_secrets=[SecretStr(fake.webhook_secret)], api_version=fake.api_version,
        requests_per_second=100_000, endpoint_requests_per_second=100_000,
    )  # fmt: skip
    with shop_on(ledger_server, account) as it:
        yield it


def rows(scene: Scene, table: str) -> dict[str, dict[str, Any]]:
    found = scene.rows(f"SELECT to_jsonb(t) - 'user_id' FROM {table} t WHERE stripe_deleted_at IS NULL")
    return {row["id"]: row for (row,) in found}


def assert_equal(scene: Scene, fake: FakeStripe) -> None:
    """Every object that an event was about is as Stripe has it now, and each effect is there once."""
    events = fake.events()
    touched = {about(event) for event in events}
    truth = fake.truth()
    for table in TABLES:
        have = rows(scene, table)
        want = {key: row for key, row in truth[table].items() if (table, key) in touched}
        assert set(have) == set(want), table
        for key, row in want.items():
            for name in set(row) - OURS:
                value = row[name].isoformat() if hasattr(row[name], "isoformat") else row[name]
                assert have[key][name] == value, (table, key, name)
    due = sorted(event["id"] for event in events if event["type"] in EFFECTS)
    assert sorted(key for (key,) in scene.rows("SELECT event_id FROM event_effects")) == due


@pytest.mark.parametrize("seed", range(3))
def test_after_any_history_and_any_deliveries_the_shop_equals_the_truth(scene, fake, seed):
    """Delivered in any order, twice, late or never; while the replay runs, Stripe goes on delivering."""
    fake.seed(customers=5, subscriptions_per_customer=1, seed=seed)
    with serving(scene.shop()) as url:
        fake.webhook_endpoint(url, secret=fake.webhook_secret)
        fake.random_history(60, seed)
        fake.deliver(shuffle=seed, duplicates=0.3, share=0.4)
        fake.random_history(30, seed + 100)
        race = Thread(target=fake.deliver, kwargs={"shuffle": seed + 1, "duplicates": 0.3, "share": 0.5})
        race.start()
        state = scene.run()
        race.join()
        assert state.name in {"Recovered", "NothingToDo"}, state.message
        last = scene.run()
        assert last.name in {"Recovered", "NothingToDo"}, last.message
    assert_equal(scene, fake)
    assert scene.run().name == "NothingToDo"
    assert {each["method"] for each in fake.requests()} == {"GET"}


def test_a_disabled_endpoint_gets_nothing_and_the_replay_everything(scene, fake):
    """What happened meanwhile is never sent again by Stripe; it is all events minus our ledger."""
    with serving(scene.shop()) as url:
        endpoint = fake.webhook_endpoint(url, secret=fake.webhook_secret)
        fake.set_endpoint(endpoint["id"], "disabled")
        fake.random_history(40, 7)
        fake.deliver()
        fake.set_endpoint(endpoint["id"], "enabled")
    assert scene.statuses() == {}
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert_equal(scene, fake)


def test_slow_refusing_and_failing_answers_cost_no_event(scene, fake):
    """429 with a pause, lock time-outs, 500s and cut connections on the way: all is done all the same."""
    fake.random_history(30, 5)
    for kind in ("429", "lock_timeout", "500", "cut", "html"):
        fake.fail_next(kind, times=1, after=3)
    state = scene.run()
    assert state.name == "Recovered", state.message
    assert_equal(scene, fake)
