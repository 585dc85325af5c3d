"""The shop gives a true account of what it was promised and what it found."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.tally import Journal, tally


def test_a_dead_pooler_is_an_outage() -> None:
    """While PgBouncer is down nothing is acknowledged, each order is retried, and none is charged twice."""
    with Lab() as lab, App(lab) as app:
        if lab.pooler is None:
            pytest.skip("PgBouncer is not installed")
        app.await_writes(5)
        lab.pooler_down()
        dead_at = app.now()
        time.sleep(1.5)
        assert app.acknowledged_after(dead_at + 0.75) == 0
        lab.pooler_up()
        app.await_writes(5)
        app.stop()
        found = app.summary()
        assert (found.lost, found.duplicated, found.uncharged) == (0, 0, 0)
        assert found.errors > 0
        assert found.outage_seconds >= 1


def test_lost_and_double_rows_are_counted() -> None:
    """The application's account shows an order that vanished and a charge that was made twice."""
    with Lab(fast=True, pooler=False) as lab, App(lab, writers=2, pinned="n1") as app:
        app.await_writes(10)
        app.stop()
        lab.psql("n1", "DELETE FROM orders WHERE seq = 2 AND client LIKE '%-0'", "orders")
        lab.psql(
            "n1",
            "INSERT INTO charges (client, seq, cents) SELECT client, seq, cents FROM charges WHERE seq = 1",
            "orders",
        )
        found = app.summary("n1")
        assert (found.lost, found.duplicated) == (1, 2)
        assert found.lost_orders == ((f"{app.client}-0", 2),)


def test_an_outage_that_lasts_is_counted() -> None:
    """The longest silence is found between two acknowledgements, per writer, and up to the end."""
    journal = Journal("c")
    journal.read([f"A\t{at}\t{writer}\t{at}\t0.001\t1" for at, writer in ((1, 0), (2, 1), (3, 0), (7, 1))])
    account = tally(journal, set(), Counter(), until=20)
    assert (account.outage_seconds, account.outage_began, account.outage_ended) == (13, 7, 20)
    assert journal.gap() == (4, 3, 7)
    assert journal.gap(writer=1) == (5, 2, 7)
