"""Giving back what a resync changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.stripe_drift import Drifted, drifting


@pytest.fixture(scope="module")
def shared(prefect_server, ledger_server, tmp_path_factory) -> Iterator[Drifted]:
    """One shop and one Stripe for this file."""
    with drifting(ledger_server, tmp_path_factory.mktemp("ledger")) as it:
        yield it


@pytest.fixture
def shop(shared) -> Drifted:
    """A shop that is as it should."""
    shared.begin_again(customers=30, subscriptions_per_customer=2)
    shared.fill()
    return shared


def test_an_undo_gives_the_identical_rows_back(shop):
    """Every column of every row is as it was before the run; a second undo finds nothing."""
    shop.drift()
    gone = next(iter(shop.rows()["customers"]))
    shop.sql("UPDATE customers SET stripe_deleted_at = now() WHERE id = %s", gone)
    before = shop.rows(everything=True)
    assert shop.resync().name == "Recovered"
    assert shop.rows() == shop.truth()
    run = shop.runs()[-1]
    dry = shop.undo(run, dry_run=True)
    assert dry.name == "NothingToDo"
    assert shop.rows() == shop.truth()
    state = shop.undo(run)
    assert state.name == "Recovered", state.message
    assert shop.rows(everything=True) == before
    assert shop.undo(run).name == "NothingToDo"


def test_a_row_that_moved_on_is_left_and_listed(shop):
    """Nobody's later change is overwritten."""
    shop.drift()
    wrong = [row[0] for row in shop.sql("SELECT id FROM subscriptions WHERE quantity = 99 ORDER BY 1")]
    assert shop.resync().name == "Recovered"
    shop.sql("UPDATE subscriptions SET status = 'past_due' WHERE id = %s", wrong[0])
    state = shop.undo(shop.runs()[-1])
    assert state.name == "Recovered", state.message
    assert f"left alone: subscriptions {wrong[0]}" in state.message
    found = dict(shop.sql("SELECT id, status FROM subscriptions WHERE id = ANY (%s)", wrong))
    assert found == {each: "past_due" if each == wrong[0] else "active!" for each in wrong}


def test_a_run_that_changed_nothing_is_refused(shop):
    """A mistyped id is said."""
    state = shop.undo("nobody")
    assert state.name == "Refused"
    assert "has no change of a run nobody" in state.message
    assert shop.undo("").name == "Refused"
