"""The resync against the fake Stripe over a socket and a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
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
    assert artifacts(state) == {"markdown", "progress", "table"}
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


def test_a_mass_disappearance_is_refused(shop):
    """Six of forty customers that Stripe does not have are rather the wrong account."""
    shop.fill()
    rows = [f"('cus_other{n}', false)" for n in range(6)]
    shop.sql(f"INSERT INTO customers (id, livemode) VALUES {', '.join(rows)}")
    state = shop.resync()
    assert state.name == "Refused"
    assert "6 of 46 rows of customers" in state.message


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
    assert f"customers who are several users: 1 ({customer})" in said.message
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


def artifacts(state) -> set[str]:
    """Say what the run shows in its tab of artifacts."""
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        return {each.type for each in client.read_artifacts(artifact_filter=wanted)}


def ledger() -> Ledger:
    """Load the ledger that the flows use."""
    return Ledger.load("ledger")
