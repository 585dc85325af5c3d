"""Random histories of a stateful Stripe with a known truth: after the replay every touched row equals it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.stripe_account import StripeAccount
from tasks.stripe.event_subject import ROWS, about, named_in
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
def scene(ledger_server, fake) -> Iterator[Scene]:
    """Give a shop that is paid through the fake."""
    account = StripeAccount(
        secret_key=SecretStr(fake.key), account=fake.account, livemode=False, database="shop-db", api_base=fake.url,
        webhook_secrets=[SecretStr(fake.webhook_secret)], api_version=fake.api_version,
        requests_per_second=100_000, endpoint_requests_per_second=100_000,
    )  # fmt: skip
    with shop_on(ledger_server, account, save=False) as it:
        yield it


def rows(scene: Scene, table: str) -> dict[str, dict[str, Any]]:
    found = scene.rows(f"SELECT to_jsonb(t) - 'user_id' FROM {table} t WHERE stripe_deleted_at IS NULL")
    return {row["id"]: row for (row,) in found}


def assert_equal(scene: Scene, fake: FakeStripe) -> None:
    """Every object that an event was about is as Stripe has it now, and each effect is there once."""
    events = fake.events()
    touched = {about(event) for event in events} | {
        (ROWS[kind][0], key) for event in fake.thin_events() for _, kind, key in named_in(event) if kind != "charge"
    }
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


@pytest.mark.parametrize("seed", range(2))
def test_after_any_history_and_any_deliveries_the_shop_equals_the_truth(scene, fake, seed):
    """Delivered in any order, twice, late, by Stripe's own retries or never, while the replay runs, in two versions."""
    fake.seed(customers=5, subscriptions_per_customer=1, seed=seed)
    with serving(scene.shop()) as url:
        fake.webhook_endpoint(url, secret=fake.webhook_secret)
        fake.random_history(35, seed)
        fake.drop_webhooks(seen_as="failed")
        fake.deliver(share=0.3)
        fake.drop_webhooks(on=False)
        fake.deliver(shuffle=seed, duplicates=0.3, share=0.4)
        fake.account_version("2024-06-20")
        fake.random_history(15, seed + 100, missing=0.2)
        race = Thread(target=fake.advance, args=(86_400,), kwargs={"shuffle": seed + 1, "duplicates": 0.3})
        race.start()
        first = scene.rehearse()
        race.join()
        assert first.name in {"Recovered", "NothingToDo"}, first.message
        last = scene.rehearse()
        assert last.name in {"Recovered", "NothingToDo"}, last.message
    assert_equal(scene, fake)
    assert scene.rehearse().name == "NothingToDo"
    assert {each["method"] for each in fake.requests()} == {"GET"}


def test_a_disabled_endpoint_gets_nothing_and_the_replay_everything(scene, fake):
    """What happened meanwhile is never sent again by Stripe; it is all events minus our ledger."""
    with serving(scene.shop()) as url:
        endpoint = fake.webhook_endpoint(url, secret=fake.webhook_secret)
        fake.set_endpoint(endpoint["id"], "disabled")
        fake.random_history(25, 7)
        fake.deliver()
        fake.set_endpoint(endpoint["id"], "enabled")
    assert scene.statuses() == {}
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert ended.plan.undelivered == 0
    assert_equal(scene, fake)


def test_slow_refusing_and_failing_answers_cost_no_event(scene, fake):
    """429 with a pause, lock time-outs, 500s and cut connections on the way: all is done all the same."""
    fake.random_history(30, 5)
    for kind in ("429", "lock_timeout", "500", "cut", "html"):
        fake.fail_next(kind, times=1, after=3)
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert_equal(scene, fake)


def test_a_restricted_key_is_enough_and_without_the_right_to_thin_events_it_is_said(scene, fake):
    """Six rights to read; the seventh, of thin events, may lack."""
    fake.random_history(20, 9)
    rights = ["account", "customers", "subscriptions", "subscription_items", "invoices", "payment_intents", "events"]
    key = fake.grant("rk_test_lab", permissions=[*rights, "invoice_payments"])
    scene.account = scene.account.model_copy(update={"secret_key": SecretStr(key)})
    ended = scene.rehearse()
    assert ended.name == "Recovered", ended.message
    assert "Having the 'rak_core_read' permission" in ended.unverified[-2]
    assert_equal(scene, fake)


def test_refunds_and_the_invoice_of_a_payment_come_with_it(scene, fake):
    """One expanded request tells what was given back of a payment; its invoice is asked once and then known."""
    before = int(time.time()) - 600
    owner = fake.act("customer.create", at=before)["id"]
    invoice = fake.act("invoice.create", customer=owner, at=before)["id"]
    fake.act("invoice.finalize", invoice=invoice, at=before)
    fake.act("invoice.pay", invoice=invoice, at=before)
    assert scene.rehearse().name == "Recovered"
    [(payment, paid)] = scene.rows("SELECT id, invoice_id FROM payments")
    assert paid == invoice
    seen = fake.requests()[-1]["number"]
    fake.act("charge.refund", payment_intent=payment, amount=100, at=before + 1)
    assert scene.rehearse().name == "Recovered"
    assert scene.rows("SELECT invoice_id, refunded_amount FROM payments") == [(invoice, 100)]
    assert_equal(scene, fake)
    asked = [each["endpoint"] for each in fake.requests(since=seen)]
    assert [each for each in asked if "pay" in each or "charge" in each] == ["GET /v1/payment_intents/{intent}"]
