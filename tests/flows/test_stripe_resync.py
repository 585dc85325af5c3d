"""The resync against the fake Stripe over a socket and a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from flows.stripe_resync import stripe_resync
from tasks.stripe.policies import ResyncPolicy
from tests.flows.stripe_drift import Drifted, drifting
from tests.flows.test_approval import Asked as AskedFailover

#: What an effect is due for.
KINDS = (
    "customer.subscription.created",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
)

XIDS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"


@pytest.fixture(scope="module")
def shared(prefect_server, ledger_server, tmp_path_factory) -> Iterator[Drifted]:
    """One shop and one Stripe for this file."""
    with drifting(ledger_server, tmp_path_factory.mktemp("ledger")) as it:
        yield it


@pytest.fixture
def shop(shared) -> Drifted:
    """An empty shop beside a Stripe with some customers."""
    shared.begin_again(customers=40, subscriptions_per_customer=2)
    return shared


def report(state):
    return state.result(raise_on_failure=False)


def test_it_ends_equal_to_stripe_and_the_second_run_changes_nothing(shop):
    """Lost, wrong and left-over rows are brought to Stripe's truth; then nothing is to do; Stripe saw only GETs."""
    assert shop.resync().name == "Recovered"
    assert shop.rows() == shop.truth()
    drift = shop.drift()
    shop.fake.random_history(60, 3)
    state = shop.resync()
    assert state.name == "Recovered", state.message
    assert shop.rows() == shop.truth()
    figures = report(state).figures
    assert figures["drift_before_rows"] >= drift
    assert figures["drift_after_rows"] == 0
    again = shop.resync()
    assert again.name == "NothingToDo"
    assert "drift 0" in again.message
    assert {request["method"] for request in shop.fake.requests()} == {"GET"}


def test_a_dry_run_writes_nothing_and_says_everything(shop):
    """The database gave out no transaction number; every difference is in the file that the report names."""
    shop.fill()
    drift = shop.drift()
    before, rows = shop.sql(XIDS), shop.rows(everything=True)
    state = shop.resync(dry_run=True, alert_on_drift=True)
    assert (state.name, shop.sql(XIDS), shop.rows(everything=True)) == ("NothingToDo", before, rows)
    assert f"dry run: would do this: Bring {drift} rows to what Stripe says" in state.message
    listed = report(state).unverified[0].split(": ")[1].split(" on the machine")[0]
    entries = [json.loads(line) for line in Path(listed).read_text().splitlines()]
    assert len(entries) == drift
    wrong = next(e for e in entries if e["table"] == "subscriptions")
    assert wrong["fields"]["quantity"] == ["99", "1"]
    titles = [parcel.payload["title"] for parcel in outbox.due(ledger()) if parcel.kind == "notification"]
    assert titles[-1:] == [f"Stripe and shop differ in {drift} rows"]


@pytest.mark.parametrize(
    ("what", "changes", "said"),
    [
        ("wrong key", {"secret_key": SecretStr("sk_test_nobodys")}, "does not let this key in"),
        ("other account", {"account": "acct_another"}, "belongs to acct_"),
        ("restricted key", {"secret_key": SecretStr("rk_test_few")}, "does not let this key in"),
    ],
)
def test_what_is_not_ours_is_refused_before_anything(shop, what, changes, said):
    """Nothing is listed with a key of nobody, of another account, or without the rights."""
    if what == "restricted key":
        shop.fake.grant("rk_test_few", permissions=["customers"])
    shop.scene.change_account(**changes)
    state = shop.resync()
    assert state.name == "Refused"
    assert said in state.message
    assert shop.rows()["customers"] == {}


def test_a_test_key_against_a_live_database_is_refused(shop):
    """One row of live mode is enough."""
    shop.sql("INSERT INTO customers (id, livemode) VALUES ('cus_live', true)")
    state = shop.resync()
    assert state.name == "Refused"
    assert "customers has rows of live mode, and the account is in a sandbox" in state.message


def test_a_key_that_is_revoked_in_the_middle_stops_the_run(shop):
    """A 401 is not tried again, and nothing was written."""
    shop.fake.fail_next("401", "GET /v1/invoices", times=1)
    state = shop.resync()
    assert state.name == "Refused"
    assert "does not let this key in" in state.message
    assert sum(request["status"] == 401 for request in shop.fake.requests()) == 1
    assert shop.rows()["customers"] == {}


def test_a_run_goes_on_where_a_stopped_one_was(shop):
    """What was listed is kept with its cursor, and what changed meanwhile is followed by its events."""
    shop.fake.fail_next("403", "GET /v1/invoice_payments", times=1, after=0)
    assert shop.resync(workers=1).name == "Refused"
    seen = len(shop.fake.requests())
    shop.fake.random_history(20, 4)
    state = shop.resync(workers=1)
    assert state.name == "Recovered", state.message
    assert shop.rows() == shop.truth()
    lists = [r["path"] for r in shop.fake.requests(seen) if r["path"] != "/v1/events" and r["path"].count("/") == 2]
    assert set(lists) - {"/v1/account"} == {"/v1/invoice_payments"}


def test_what_passes_is_tried_again(shop):
    """Errors, cut connections, lock time-outs and refusals for the limit do not keep it from the end."""
    shop.fake.faults(flaky=0.15, flaky_seed=5)
    state = shop.resync()
    shop.fake.clear_faults()
    assert state.name == "Recovered", state.message
    assert shop.rows() == shop.truth()


def test_objects_that_change_while_they_are_listed_are_right_in_the_end(shop):
    """The events since the beginning are followed."""
    shop.fake.faults(mutate_while_listed=2)
    first = shop.resync()
    shop.fake.faults(mutate_while_listed=0)
    assert first.name == "Recovered", first.message
    second = shop.resync()
    assert second.name in ("Recovered", "NothingToDo"), second.message
    assert shop.rows() == shop.truth()


def test_what_it_does_not_know_is_kept_and_said(shop):
    """An unknown status, and currencies without or with three decimals, are stored as Stripe says them."""
    truth = shop.fake.truth("subscriptions", "customers")
    odd, customer = next(iter(truth["subscriptions"])), next(iter(truth["customers"]))
    shop.fake.act("subscription.set_status", subscription=odd, status="hibernating")
    odd_money = [("jpy", 500), ("kwd", 1500)]
    paid = [shop.fake.act("payment.create", customer=customer, amount=a, currency=c)["id"] for c, a in odd_money]
    state = shop.resync()
    assert state.name == "Recovered", state.message
    assert any("subscriptions: hibernating (1)" in line for line in report(state).unverified)
    assert shop.sql("SELECT status FROM subscriptions WHERE id = %s", odd) == [("hibernating",)]
    assert shop.sql("SELECT currency, amount FROM payments WHERE id = ANY (%s) ORDER BY 1", paid) == odd_money


def test_many_items_are_all_read(shop):
    """The period of a subscription ends with the first item that ends, wherever in the list it is."""
    odd = next(iter(shop.fake.truth("subscriptions")["subscriptions"]))
    shop.fake.act("subscription.add_items", subscription=odd, count=25)
    shop.fill()
    assert shop.rows() == shop.truth()


def test_a_deleted_customer_gets_a_tombstone_and_a_lost_row_comes_back(shop):
    """What Stripe no longer has is confirmed by asking for it; no row is deleted."""
    shop.fill()
    gone, lost = list(shop.fake.truth("customers")["customers"])[:2]
    shop.fake.act("customer.delete", customer=gone, generated=False)
    shop.sql("DELETE FROM customers WHERE id = %s", lost)
    state = shop.resync()
    assert state.name == "Recovered", state.message
    assert shop.sql("SELECT stripe_deleted_at IS NOT NULL FROM customers WHERE id = %s", gone) == [(True,)]
    assert shop.rows() == shop.truth()
    assert shop.resync().name == "NothingToDo"


def test_a_mass_disappearance_is_refused(shop):
    """Six of forty customers that Stripe does not have are rather the wrong account."""
    shop.fill()
    rows = [f"('cus_other{n}', false)" for n in range(6)]
    shop.sql(f"INSERT INTO customers (id, livemode) VALUES {', '.join(rows)}")
    state = shop.resync()
    assert state.name == "Refused"
    assert "6 of 46 rows of customers" in state.message


def test_too_many_changes_are_refused(shop):
    """A first run of everything needs a larger cap."""
    state = shop.resync(max_changes=10)
    assert state.name == "Refused"
    assert "max_changes" in state.message


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE invoices DROP COLUMN amount_paid", "invoices has no column amount_paid"),
        ("ALTER TABLE payments ALTER amount TYPE numeric", "payments.amount is numeric, and amount needs bigint"),
        ("ALTER TABLE customers DROP CONSTRAINT customers_pkey", "customers has no primary key on id"),
        ("DROP TABLE subscriptions", "There is no table public.subscriptions"),
    ],
)
def test_a_table_that_does_not_fit_is_said(shop, statement, said):
    """Each misfit is one sentence, and nothing was asked of Stripe."""
    shop.sql(statement)
    before = len(shop.fake.requests())
    state = shop.resync()
    assert state.name == "Refused"
    assert said in state.message
    assert len(shop.fake.requests()) == before


class Asked(AskedFailover):
    """A resync that waits for a person."""

    def _run(self, **parameters):
        self.state = stripe_resync("shop", return_state=True, **parameters)


def test_a_customer_who_is_two_users_stays_with_the_owner_of_its_subscriptions(shop):
    """It is only reported, until a repair is wanted and a person has approved it; then it can be given back."""
    customer, user = next((key, row["user_id"]) for key, row in shop.fake.truth("customers")["customers"].items())
    shop.sql("INSERT INTO users (id, stripe_customer_id) VALUES (%s, %s), (9001, %s)", user, customer, customer)
    assert shop.resync().name == "Recovered"
    assert shop.sql("SELECT user_id FROM customers WHERE id = %s", customer) == [(user,)]
    said = shop.resync()
    assert f"1 customers are several users ({customer})" in said.message
    before = shop.rows(everything=True)
    plan = report(shop.resync(duplicates="repair", dry_run=True)).plan
    assert f"{customer} stays with user {user} and is taken from 9001" in plan.ask
    run = Asked(ledger(), policy=ResyncPolicy(dry_run=False, duplicates="repair", approval_seconds=60))
    assert f"{customer} stays with user {user}" in run.waits()
    assert shop.rows(everything=True) == before
    run.answer(decision="approve", approver="Bob")
    state = run.ends()
    assert state.name == "Recovered", state.message
    assert dict(shop.sql("SELECT id, stripe_customer_id FROM users")) == {user: customer, 9001: None}
    assert shop.undo(shop.runs()[-1]).name == "Recovered"
    assert shop.rows(everything=True) == before


def test_replay_and_resync_together_equal_the_truth_with_each_effect_once(shop):
    """Webhooks were lost and rows are wrong: in either order, and a second time, nothing is done twice."""
    shop.fill()
    shop.fake.random_history(60, 9)
    shop.drift()
    replay = {"settle_seconds": 0, "wait_seconds": 10}
    assert shop.resync().name == "Recovered"
    assert shop.scene.run(**replay).name == "Recovered"
    shop.fake.random_history(30, 10)
    assert shop.scene.run(**replay).name == "Recovered"
    assert shop.resync().name in {"Recovered", "NothingToDo"}
    assert shop.rows() == shop.truth()
    due = sorted(event["id"] for event in shop.fake.events() if event["type"] in KINDS)
    assert [row[0] for row in shop.sql("SELECT event_id FROM event_effects ORDER BY 1")] == due
    assert (shop.scene.run(**replay).name, shop.resync().name) == ("NothingToDo", "NothingToDo")


def ledger() -> Ledger:
    """Load the ledger that the flows use."""
    return Ledger.load("ledger")
