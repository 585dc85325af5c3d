"""A resync is killed in the middle of its repair, finished by the next run, and both are given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME

from blocks.ledger import runs
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


def start(procedure: str, **policy: object) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    env = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(PREFECT_HOME.value())}
    command = [sys.executable, "-m", "tests.drills.stripe_patient", procedure, json.dumps(policy)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait until it has ended, and give outcome and sentence."""
    out, _ = process.communicate(timeout=90)
    name, message = json.loads(out.strip().splitlines()[-1])
    return name, message


def killed_in_its_act(shop: Drifted) -> None:
    """Hold a row that the run must change last, and kill the run when it waits for it."""
    process = start("stripe-resync", dry_run=False)
    with psycopg.connect(shop.url) as connection:
        connection.execute("SELECT FROM payments WHERE refunded_amount = 7 FOR UPDATE")
        give_up = time.monotonic() + 60
        while not shop.sql(WAITS)[0][0]:
            assert time.monotonic() < give_up, "it never came to its act"
            time.sleep(0.05)
        process.kill()
        process.communicate()


def test_a_resync_that_is_killed_in_its_repair_is_finished_and_given_back(shop: Drifted, book) -> None:
    """SIGKILL between two tables: the next run repairs the rest, each change is audited once, and both are undone."""
    before = shop.rows(everything=True)
    killed_in_its_act(shop)
    assert shop.rows() != shop.truth()
    half = shop.runs()
    assert len(half) == 1
    silence(book, runs.history(book)[0].id)
    name, message = ended(start("stripe-resync", dry_run=False))
    assert name == "Recovered", message
    assert shop.rows() == shop.truth()
    changed = "SELECT count(*), count(DISTINCT (table_name, row_id)) FROM salvor.stripe_changes"
    assert shop.sql(changed) == [(9, 9)]
    for run in reversed(shop.runs()):
        name, message = ended(start("stripe-undo", run_id=run))
        assert name == "Recovered", message
    assert shop.rows(everything=True) == before
