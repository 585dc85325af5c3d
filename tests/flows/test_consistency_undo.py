"""Giving back what a repair changed."""

from __future__ import annotations

import pytest

from tests.flows.broken_rows import FAULTS, Broken


@pytest.fixture
def app(broken) -> Broken:
    """An application with rows that are right, and a ledger that has not seen it."""
    return broken


def test_a_row_that_moved_on_is_left_and_listed(app):
    """Nobody's later change is overwritten, and a key that was taken meanwhile stays with who took it."""
    app.sql(FAULTS)
    assert app.repair(rules=["wrong tiers", "folders in no folder"]).name == "Recovered"
    run = app.last_run
    app.sql("UPDATE users SET email = 'new' WHERE id = 10; INSERT INTO folders VALUES (55, NULL, 'taken')")
    state = app.undo(run)
    assert state.name == "Recovered", state.message
    left = " ".join(state.result(raise_on_failure=False).unverified)
    assert "users 10 was changed again since" in left
    assert "folders 55 was changed again since" in left
    assert app.sql("SELECT email, tier FROM users WHERE id = 10") == [("new", "paid")]
    assert app.sql("SELECT name FROM folders WHERE id = 55") == [("taken",)]
    assert app.sql("SELECT tier FROM users WHERE id = 11") == [("free",)]
    assert app.sql("SELECT count(*) FROM folders WHERE id > 50") == [(10,)]


def test_a_run_that_changed_nothing_is_refused(app):
    """A mistyped id is said."""
    assert app.undo("").name == "Refused"
    state = app.undo("nobody")
    assert state.name == "Refused"
    assert "No change of a run nobody is known here" in state.message
