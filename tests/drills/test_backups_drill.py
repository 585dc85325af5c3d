"""The five procedures on a real cluster, started as the Run button does: kept, practised, gone back, lost and found."""

from __future__ import annotations

import pytest

from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.lab.app import App

pytestmark = [pytest.mark.drill, pytest.mark.long]


def recovered(ward: Ward, procedure: str, **policy: object) -> dict[str, object]:
    """Run a procedure that must end well; return its report."""
    run = ward.run(procedure, policy)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert run.report is not None
    return run.report


def test_a_lost_cluster_comes_back_with_every_row_that_was_archived(async_ward: Ward) -> None:
    """A set is taken and practised while the shop writes; all hosts are destroyed, and no archived order is missing."""
    lab = async_ward.lab
    recovered(async_ward, "backup-take")
    lab.demand_archive()
    with App(lab, writers=2, rate=20) as app:
        app.await_writes(5)
        recovered(async_ward, "backup-drill", what="latest")
        async_ward.record()
        for node in lab.nodes:
            lab.destroy(node)
        report = recovered(async_ward, "disaster-recover")
        app.await_writes(5)
        app.stop()
        tally = app.summary()
    assert (tally.lost, tally.duplicated) == (0, 0)
    assert report["figures"]["rpo_seconds"] == 0  # type: ignore[index]


def test_a_standby_is_promoted_where_there_is_one(ward: Ward) -> None:
    """The primary's host is gone, and a standby is not: disaster-recover lets postgres-failover do it."""
    ward.lab.destroy("n1")
    report = recovered(ward, "disaster-recover")
    assert report["plan"]["way"] == "failover"  # type: ignore[index]
    assert {run.procedure for run in ward.of_target()} == {"disaster-recover", "postgres-failover"}
    assert ward.lab.primary() in {"n2", "n3"}


def test_a_restore_waits_for_another_person_and_then_goes_back(ward: Ward) -> None:
    """It takes the database away, so it always asks; what was committed after the position is gone, and was said."""
    lab = ward.lab
    recovered(ward, "backup-take")
    lab.psql("n1", "INSERT INTO orders VALUES ('before', 1, 1)", "orders")
    lab.psql("n1", "SELECT pg_create_restore_point('good')")
    lab.psql("n1", "INSERT INTO orders VALUES ('after', 1, 1)", "orders")
    run_id = ward.start("backup-restore", {"target": "name", "to": "good"})
    ward.answer(run_id, "approve", "somebody else")
    run = ward.ended(run_id)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert run.report is not None
    assert 0 < run.report["figures"]["waited_for_approval_seconds"] < run.report["figures"]["rto_writable_seconds"]
    assert lab.psql("n1", "SELECT client FROM orders WHERE client IN ('before', 'after')", "orders") == [("before",)]


def test_one_table_comes_back_while_the_shop_goes_on(ward: Ward) -> None:
    """An order is deleted; the table of before is beside the one that is written to, and brings the order back."""
    lab = ward.lab
    lab.psql("n1", "INSERT INTO orders VALUES ('lost', 1, 1)", "orders")
    recovered(ward, "backup-take")
    lab.psql("n1", "SELECT pg_create_restore_point('good')")
    with App(lab, writers=2, rate=20) as app:
        app.await_writes(5)
        lab.psql("n1", "DELETE FROM orders WHERE client = 'lost'", "orders")
        policy = {"target": "name", "to": "good", "tables": ["public.orders"], "into_schema": "rescue"}
        report = recovered(ward, "backup-extract", **policy)
        app.await_writes(5)
        app.stop()
        tally = app.summary()
    assert (tally.lost, tally.duplicated) == (0, 0)
    assert report["figures"]["rows_missing_now"] == 1  # type: ignore[index]
    back = "INSERT INTO orders SELECT * FROM rescue.orders ON CONFLICT DO NOTHING"
    lab.psql("n1", back, "orders")
    assert lab.psql("n1", "SELECT client FROM orders WHERE client = 'lost'", "orders") == [("lost",)]
