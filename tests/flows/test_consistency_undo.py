"""Giving back what a repair changed."""

from __future__ import annotations

from tests.flows.broken_rows import FAULTS
from tests.flows.test_consistency_repair import app, blank, report, url  # noqa: F401 - fixtures


def test_a_row_that_moved_on_is_left_and_listed(app):  # noqa: F811
    """Nobody's later change is overwritten, and a key that was taken meanwhile stays with who took it."""
    app.sql(FAULTS)
    assert app.repair(rules=["wrong tiers", "folders in no folder"]).name == "Recovered"
    run = app.last_run
    app.sql("UPDATE users SET email = 'new' WHERE id = 10; INSERT INTO folders VALUES (55, NULL, 'taken')")
    state = app.undo(run)
    assert state.name == "Recovered", state.message
    left = " ".join(report(state).unverified)
    assert "users 10 was changed again since" in left
    assert "folders 55 was changed again since" in left
    assert app.sql("SELECT email, tier FROM users WHERE id = 10") == [("new", "paid")]
    assert app.sql("SELECT name FROM folders WHERE id = 55") == [("taken",)]
    assert app.sql("SELECT tier FROM users WHERE id = 11") == [("free",)]
    assert app.sql("SELECT count(*) FROM folders WHERE id > 50") == [(10,)]


def test_a_run_that_changed_nothing_is_refused(app):  # noqa: F811
    """A mistyped id is said."""
    assert app.undo("").name == "Refused"
    state = app.undo("nobody")
    assert state.name == "Refused"
    assert "No change of a run nobody is known here" in state.message
