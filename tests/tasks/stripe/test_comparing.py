"""Comparison and repair without Prefect: connected accounts, clocks, deaths at any moment, random histories."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.stripe_account import StripeAccount
from tasks.stripe.clock import database_clock
from tests.flows.stripe_drift import Drifted
from tests.flows.stripe_scene import Scene, fresh
from tests.lab.stripe import FakeStripe
from tests.tasks.stripe.comparison import Comparing, Died, Mortal, rows_left

CONNECTED = "acct_1Connected"


class Shop(Drifted):
    """The shop without saved blocks: nothing here asks Prefect."""

    def begin_again(self, **seed: object) -> None:
        self.fake.reset()
        self.fake.clear_faults()
        self.fake.seed(**seed)  # type: ignore[arg-type]  # numbers
        fresh(self.server)
        self.scene.account = self.account


@pytest.fixture(scope="module")
def shared(ledger_server, tmp_path_factory) -> Iterator[Shop]:
    """One shop and one Stripe for this file."""
    home = tmp_path_factory.mktemp("home")
    with FakeStripe() as fake, temporary_settings({PREFECT_HOME: home}):
        account = StripeAccount(
            secret_key=SecretStr(fake.key), account=fake.account, livemode=False, database="shop-db",
            api_base=fake.url, rate_share=1, requests_per_second=100_000, endpoint_requests_per_second=100_000,
        )  # fmt: skip
        url = fresh(ledger_server)
        scene = Scene(None, url, account, AppDatabase(url=SecretStr(url)))  # type: ignore[arg-type]  # another Stripe
        yield Shop(scene, fake, ledger_server)


@pytest.fixture
def shop(shared) -> Shop:
    """An empty shop beside a Stripe with some customers."""
    shared.begin_again(customers=12, subscriptions_per_customer=2)
    return shared


@pytest.fixture
def work(shop, tmp_path) -> Comparing:
    return Comparing(shop, tmp_path / "spools")


def connected(shop: Shop) -> None:
    """Connect an account with a shop of its own."""
    shop.fake.connect(CONNECTED)
    shop.fake.seed(customers=5, subscriptions_per_customer=1, seed=77, account=CONNECTED)
    shop.scene.account = shop.account.model_copy(update={"connected_accounts": [CONNECTED]})


def test_rows_of_a_connected_account_are_compared_followed_and_never_taken_for_gone(shop, work):
    """Every account is listed, its events are followed, and a row is gone only when every account was asked."""
    connected(shop)
    drift, after = work.heal()
    assert (drift.connected, rows_left(after)) == (1, 0)
    own, theirs = shop.fake.truth(), shop.fake.truth(account=CONNECTED)
    assert set(shop.rows()["subscriptions"]) == {*own["subscriptions"], *theirs["subscriptions"]}
    first, second, third = list(theirs["customers"])[:3]
    shop.fake.act("customer.delete", customer=first, generated=False, account=CONNECTED)
    shop.sql("UPDATE customers SET email = 'wrong' WHERE id = %s", second)
    asked: list[str] = []

    def meanwhile(said: str, _percent: float) -> None:
        if said.startswith("Following") and not asked:
            asked.append(shop.fake.act("customer.update", customer=third, email="late@x", account=CONNECTED)["id"])

    again = work.compare(meanwhile)
    counts = next(table for table in again.tables if table.table == "customers")
    assert (counts.tombstone, counts.update, counts.unconfirmed) == (1, 2, 0)
    looked = [r["account"] for r in shop.fake.requests() if r["path"] == f"/v1/customers/{first}"]
    assert set(looked) == {"", CONNECTED}
    work.repair(again)
    assert shop.sql("SELECT email FROM customers WHERE id = %s", third) == [("late@x",)]


def test_looks_are_noted_by_the_databases_clock_and_rather_early(shop, work):
    """However wrong the clock of this machine is: ours only counts the seconds since the database told the time."""
    told = work.at.database.now()
    skewed = iter([1e9, 1e9, 1e9 + 5])
    clock = database_clock(work.at.database, lambda: next(skewed))
    assert told <= clock() < told + 60
    assert clock() == pytest.approx(told + 5, abs=60)
    before = shop.sql("SELECT clock_timestamp()")[0][0]
    work.heal()
    ((first, last),) = shop.sql("SELECT min(stripe_observed_at), max(stripe_observed_at) FROM subscriptions")
    assert before <= first <= last < shop.sql("SELECT clock_timestamp()")[0][0]


def test_a_row_that_somebody_looked_at_later_is_asked_for_again(shop, work):
    """Its change had no event, and came between our look and the comparison: it is not taken back."""
    work.heal()
    paid = next(key for key, row in shop.fake.truth("payments")["payments"].items() if row["status"] == "succeeded")
    customer = next(iter(shop.fake.truth("customers")["customers"]))
    done: list[bool] = []

    def meanwhile(said: str, _percent: float) -> None:
        if said.startswith("Comparing") and not done:
            done.append(True)
            shop.fake.act("charge.refund", payment_intent=paid, amount=1, generated=False)
            shop.fake.act("customer.update", customer=customer, email="new@x", generated=False)
            shop.sql("UPDATE payments SET refunded_amount = 1, stripe_observed_at = now() WHERE id = %s", paid)
            shop.sql("UPDATE customers SET email = 'new@x', stripe_observed_at = now() WHERE id = %s", customer)

    drift = work.compare(meanwhile)
    assert done
    assert drift.drift == 0
    assert shop.rows() == shop.truth()


@pytest.mark.parametrize("when", ["before a page is asked for", "after a page was kept"])
def test_a_comparison_that_dies_at_any_page_is_gone_on_with(shop, work, when):
    """Before or after each page: the next run loses none, and lists none of what was kept."""
    shop.begin_again(customers=130, subscriptions_per_customer=1)
    for number in range(1, 40, 5):
        turns = iter(range(1, 10_000))

        def dies(*_: object, at: int = number, turn: Iterator[int] = turns) -> float:
            if next(turn) == at:
                raise RuntimeError("dead")
            return time.time()

        with work.begun(workers=3) as sides:
            tails = sides.tails()
            if when == "before a page is asked for":
                object.__setattr__(sides.looks, "clock", dies)
            try:
                sides.listed(dies if when != "before a page is asked for" else lambda *_: None)
            except RuntimeError:
                continue
            assert len(tails) == 1
            break
    seen = len(shop.fake.requests())
    drift, after = work.heal()
    assert rows_left(after) == 0
    assert shop.rows() == shop.truth()
    assert drift.drift > 500
    lists = [r for r in shop.fake.requests(seen) if r["path"].count("/") == 2 and "starting_after" not in r["params"]]
    assert len([r for r in lists if r["path"] == "/v1/customers"]) <= 1


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_repair_that_dies_at_any_commit_is_ended_by_the_next_run(shop, work, number, committed):
    """Before or after each table's: drift 0 in the end, and every change is in the audit exactly once."""
    shop.fill()
    shop.drift()
    shop.sql("UPDATE customers SET email = 'wrong' WHERE id = (SELECT min(id) FROM customers)")
    drift = work.compare()
    with pytest.raises(Died):
        work.repair(drift, Mortal(work.at.database, number, committed=committed))
    _, after = work.heal()
    assert rows_left(after) == 0
    assert shop.rows() == shop.truth()
    counted = shop.sql("SELECT count(*), count(DISTINCT (table_name, row_id)) FROM salvor.stripe_changes")
    assert counted == [(drift.drift, drift.drift)]
    assert work.repair(work.compare()) == 0


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_and_any_vandalism_the_shop_equals_stripe(shop, work, seed):
    """Objects change while they are listed, events get lost, rows are wrong, lost, left over or buried."""
    chance = random.Random(seed)
    shop.fill()
    shop.fake.random_history(80, seed, missing=0.3)
    for table, column in (("customers", "email"), ("subscriptions", "status"), ("invoices", "status")):
        ids = sorted(shop.rows()[table])
        wrong, lost, buried = (chance.sample(ids, 2) for _ in range(3))
        shop.sql(f"UPDATE {table} SET {column} = 'vandal' WHERE id = ANY (%s)", wrong)
        shop.sql(f"DELETE FROM {table} WHERE id = ANY (%s)", lost)
        shop.sql(f"UPDATE {table} SET stripe_deleted_at = now() WHERE id = ANY (%s)", buried)
    shop.sql("INSERT INTO payments (id, livemode, customer_id) VALUES ('pi_ghost', false, 'cus_ghost')")
    shop.fake.faults(mutate_while_listed=1, flaky=0.1, flaky_seed=seed)
    work.heal()
    shop.fake.clear_faults()
    shop.fake.faults(mutate_while_listed=0)
    _, after = work.heal()
    assert rows_left(after) == 0
    assert shop.rows() == shop.truth()
    assert work.compare().drift == 0


def test_what_is_older_than_since_days_is_neither_missed_nor_changed(shop, work):
    """A row without a date, or with a wrong one, is held against the object itself."""
    shop.fill()
    ids = [row[0] for row in shop.sql("SELECT id FROM payments ORDER BY created_at")]
    oldest, old, newest = ids[0], ids[1], ids[-1]
    shop.sql("UPDATE payments SET amount = 1 WHERE id = %s", oldest)
    shop.sql("UPDATE payments SET created_at = NULL WHERE id = ANY (%s)", [old, newest])
    drift, after = work.heal(since_days=100)
    assert rows_left(after) == 0
    assert drift.drift == 2
    truth, rows = shop.truth(), shop.rows()
    assert [key for key, row in rows["payments"].items() if row != truth["payments"][key]] == [oldest]
    assert {t: r for t, r in rows.items() if t != "payments"} == {t: r for t, r in truth.items() if t != "payments"}


def test_a_payment_gets_its_parent_back_where_stripe_has_it(shop, work):
    """An older invoice is asked for by its id; a customer that was deleted in Stripe is only reported."""
    shop.fill()
    old, new = (row[0] for row in shop.sql("SELECT invoice_id FROM payments ORDER BY created_at")[::23])
    gone = shop.sql("SELECT customer_id FROM payments ORDER BY id")[-1][0]
    shop.fake.act("customer.delete", customer=gone, generated=False)
    shop.sql("DELETE FROM customers WHERE id = %s", gone)
    shop.sql("DELETE FROM invoices WHERE id = ANY (%s)", [old, new])
    drift, after = work.heal(since_days=100)
    assert rows_left(after) == 0
    healed = {orphan.parent: orphan.healed for orphan in drift.orphans}
    assert healed == {old: True, new: True, gone: False}
    assert {old, new} <= set(shop.rows()["invoices"])


def test_what_it_does_not_know_is_kept_and_said(shop, work):
    """An unknown status, currencies without or with three decimals, and a long list of items, as Stripe says them."""
    odd, many = list(shop.fake.truth("subscriptions")["subscriptions"])[:2]
    customer = next(iter(shop.fake.truth("customers")["customers"]))
    shop.fake.act("subscription.set_status", subscription=odd, status="hibernating")
    shop.fake.act("subscription.add_items", subscription=many, count=25)
    money = [("jpy", 500), ("kwd", 1500)]
    paid = [shop.fake.act("payment.create", customer=customer, amount=a, currency=c)["id"] for c, a in money]
    drift, after = work.heal()
    assert drift.unknown == ("subscriptions: hibernating (1)",)
    assert rows_left(after) == 0
    assert shop.rows() == shop.truth()
    assert shop.sql("SELECT currency, amount FROM payments WHERE id = ANY (%s) ORDER BY 1", paid) == money
    assert any("subscription_items" in request["path"] for request in shop.fake.requests())


def test_a_deleted_customer_gets_a_tombstone_and_a_lost_row_comes_back(shop, work):
    """What Stripe no longer has is confirmed by asking for it; no row is deleted."""
    shop.fill()
    gone, lost = list(shop.fake.truth("customers")["customers"])[:2]
    shop.fake.act("customer.delete", customer=gone, generated=False)
    shop.sql("DELETE FROM customers WHERE id = %s", lost)
    drift, after = work.heal()
    customers = next(table for table in drift.tables if table.table == "customers")
    assert (customers.tombstone, customers.insert, customers.drift, rows_left(after)) == (1, 1, 2, 0)
    assert shop.sql("SELECT stripe_deleted_at IS NOT NULL FROM customers WHERE id = %s", gone) == [(True,)]
    assert shop.rows() == shop.truth()
    assert work.compare().drift == 0


def test_what_changes_in_stripe_after_the_comparison_is_named_and_no_drift(shop, work):
    """Its event tells of it; a row that somebody else changed meanwhile is left, and is drift."""
    shop.fill()
    first, second, third = list(shop.fake.truth("customers")["customers"])[:3]
    shop.sql("UPDATE customers SET email = 'wrong' WHERE id = ANY (%s)", [first, second])
    drift = work.compare()
    shop.sql("UPDATE customers SET email = 'somebody' WHERE id = %s", second)
    assert work.repair(drift) == 1
    shop.fake.act("customer.update", customer=third, email="late@x")
    after = work.again(drift)
    assert after.moving == (f"customers {third}",)
    assert after.left == (f"customers {second}",)
    assert rows_left(after) == 1
    assert shop.sql("SELECT email FROM customers WHERE id = %s", second) == [("somebody",)]


def test_users_who_are_several_customers_are_named(shop, work):
    """By the metadata of Stripe's customers; nothing is changed for it."""
    first, second = (shop.fake.act("customer.create", metadata={"user_id": "5000"})["id"] for _ in range(2))
    drift = work.compare(objects=("customers",))
    assert [(each.user, each.customers) for each in drift.several] == [("5000", ", ".join(sorted([first, second])))]


def test_an_application_without_some_tables_is_compared_in_the_others(shop, work):
    """Only what is asked for need be there."""
    shop.sql("DROP TABLE payments, invoices")
    drift, after = work.heal(objects=("customers", "subscriptions"))
    assert drift.drift == 36
    assert rows_left(after) == 0
