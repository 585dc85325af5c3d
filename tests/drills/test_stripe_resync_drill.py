"""A resync is killed in the middle of its repair, finished by the next run, and both are given back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from blocks.ledger import runs
from tests.drills.run_apart import ended, start
from tests.flows.stripe_drift import Drifted, drifted_on
from tests.lab.stripe import FakeStripe
from tests.ledgers import silence

pytestmark = pytest.mark.drill
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'salvor' AND wait_event_type = 'Lock'"


@pytest.fixture
def shop(prefect_server, book, ledger_server) -> Iterator[Drifted]:
    """Give a shop whose rows have drifted in every table."""
    book.save("ledger", overwrite=True)
    with FakeStripe() as fake, drifted_on(ledger_server, fake) as it:
        fake.seed(customers=30, subscriptions_per_customer=2)
        it.fill()
        it.drift()
        yield it


def killed_in_its_act(shop: Drifted) -> None:
    """Hold a row that the run must change last, and kill the run when it waits for it."""
    process = start("stripe-resync", "shop", dry_run=False)
    with psycopg.connect(shop.url) as connection:
        connection.execute("SELECT FROM payments WHERE refunded_amount = 7 FOR UPDATE")
        give_up = time.monotonic() + 60
        while not shop.sql(WAITS)[0][0]:
            assert time.monotonic() < give_up, "it never came to its act"
            time.sleep(0.05)
        process.kill()
        process.communicate()


@pytest.mark.long
def test_a_resync_that_is_killed_in_its_repair_is_finished_and_given_back(shop: Drifted, book) -> None:
    """SIGKILL between two tables: the next run repairs the rest, each change is audited once, and both are undone."""
    before = shop.rows(everything=True)
    killed_in_its_act(shop)
    assert shop.rows() != shop.truth()
    half = shop.runs()
    assert len(half) == 1
    silence(book, runs.history(book)[0].id)
    name, message = ended(start("stripe-resync", "shop", dry_run=False))
    assert name == "Recovered", message
    assert shop.rows() == shop.truth()
    changed = "SELECT count(*), count(DISTINCT (table_name, row_id)) FROM salvor.stripe_changes"
    assert shop.sql(changed) == [(9, 9)]
    for run in reversed(shop.runs()):
        name, message = ended(start("stripe-undo", "shop", run_id=run))
        assert name == "Recovered", message
    assert shop.rows(everything=True) == before
