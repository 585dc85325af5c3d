"""Writes move on purpose: nobody loses a row, nobody sees an error, and whatever goes wrong is given back."""

from __future__ import annotations

import psycopg
import pytest

from blocks.ledger import runs
from tasks.model import Outcome
from tests.drills.rows import tell_of_rows
from tests.drills.theatre import sweeping
from tests.drills.ward import Ward
from tests.drills.witness import Picture, acts, assert_rows_kept, assert_untouched
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.processes import wait_until

pytestmark = pytest.mark.drill


def whole(ward: Ward, primary: str = "n1") -> bool:
    others = sorted(set(ward.lab.nodes) - {primary})
    return ward.lab.primaries() == [primary] and ward.lab.streaming(primary) == others


def test_writes_move_without_an_error(ward: Ward) -> None:
    """Through PgBouncer no client sees an error and no row is lost; the old primary follows; again is nothing to do.

    The rows of the database that lives there are looked at afterwards, and not before.
    """
    lab, rows = ward.lab, tell_of_rows(ward)
    ward.change_block(databases=[rows])
    with App(lab) as app:
        app.await_writes(50)
        run = ward.run("postgres-switchover", {"candidate": "n3"})
        app.await_writes(50)
        again = ward.run("postgres-switchover", {"candidate": "n3"})
    assert run.outcome == Outcome.RECOVERED, run.why
    assert whole(ward, "n3")
    assert lab.psql("n3", "SHOW synchronous_standby_names") in ([("ANY 1 (n2, n1)",)], [("ANY 1 (n1, n2)",)])
    assert app.summary().errors == 0, app.summary().error_kinds
    assert_rows_kept(app)
    assert (again.outcome, acts(again)) == (Outcome.NOTHING_TO_DO, [])
    assert again.why == "n3 takes writes already."
    with sweeping(ward.plane):
        (look,) = ward.until(
            lambda: [r for r in runs.history(ward.ledger) if r.target == rows and r.outcome], 60, "a look"
        )
    assert (look.procedure, look.requested_by) == ("consistency-check", "postgres-switchover")
    assert look.parameters["reason"] == f"postgres-switchover on {ward.target} has ended"
    assert look.started_at > run.ended_at
    assert look.why == "1 of 2 rules are broken: looks at a primary: 1."


def test_pause_that_times_out_is_given_back(ward: Ward) -> None:
    """A transaction that does not end is not cut off: clients go on where they were, and nothing has changed."""
    lab = ward.lab
    with App(lab) as app, psycopg.connect(lab.dsn()) as slow:
        slow.execute("SELECT count(*) FROM orders")
        app.await_writes(50)
        before = Picture.of(lab)
        run = ward.run("postgres-switchover", {"pause_seconds": 0.5})
        app.await_writes(50)
        assert slow.execute("SELECT 1").fetchone() == (1,), "the long transaction lives on"
        assert_untouched(before, lab, "position")
    assert run.outcome == Outcome.REFUSED
    assert "Clients could not be held" in run.why
    assert "They go on with n1" in run.why
    assert app.summary().errors == 0
    assert_rows_kept(app)


@pytest.mark.parametrize("cut", [True, False], ids=["receives nothing", "applies nothing"])
def test_candidate_that_does_not_keep_up_is_given_back(ward: Ward, cut: bool) -> None:
    """A candidate that does not get, or does not apply, the last byte is not promoted: the old primary goes on."""
    lab = ward.lab
    before = Picture.of(lab)
    # With the longer time-out the primary still believes in the standby when the run looks.
    node, setting, value = ("n1", "wal_sender_timeout", "60s") if cut else ("n2", "recovery_min_apply_delay", "1h")
    with App(lab) as app:
        app.await_writes(50)
        lab.psql(node, f"ALTER SYSTEM SET {setting} = '{value}'")
        lab.psql(node, "SELECT pg_reload_conf()")
        if cut:
            lab.cut("n1", "n2")
        run = ward.run("postgres-switchover", {"candidate": "n2", "stop_seconds": 2, "drain_seconds": 1})
        lab.mend("n1")
        lab.psql(node, f"ALTER SYSTEM RESET {setting}")
        lab.psql(node, "SELECT pg_reload_conf()")
        app.await_writes(50)
        wait_until(lambda: whole(ward), 20, "the standbys to stream again")
    assert run.outcome == Outcome.REFUSED, run.why
    assert "Taken back: " in run.why
    assert "promote" not in acts(run)
    assert app.summary().errors == 0, app.summary().error_kinds
    assert_rows_kept(app)
    assert_untouched(before, lab, "position", "process", "said", "disk")


def test_without_a_pooler_clients_are_told(plane: object, prefect: None) -> None:
    """Without a pooler writes move as well, and the plan says beforehand that clients will see errors."""
    with Lab(fast=True, pooler=False) as lab, Ward(plane, lab) as ward, App(lab) as app:  # type: ignore[arg-type]
        app.await_writes(50)
        run = ward.run("postgres-switchover", {"candidate": "n2"})
        app.await_writes(50)
        assert run.outcome == Outcome.RECOVERED, run.why
        assert run.report["plan"]["loss"] == "Nothing; clients see errors while it lasts."
        assert whole(ward, "n2")
        assert_rows_kept(app)
