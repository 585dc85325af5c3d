"""The real Alertmanager is told that a primary is down, and a finished recovery is what comes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blocks.ledger import alerts
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import descendants
from tasks.model import Outcome
from tests.drills.alarm import ALERTMANAGER, alertmanager
from tests.drills.ward import Ward
from tests.drills.witness import assert_rows_kept
from tests.lab.app import App

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(
        ALERTMANAGER is None, reason="Alertmanager is not installed: apt-get install prometheus-alertmanager"
    ),
]


def test_an_alert_becomes_a_finished_recovery(ward: Ward, tmp_path: Path) -> None:
    """From Alertmanager's own API through webhook, event, automation and responder to clients that write again."""
    with alertmanager(ward.plane, tmp_path) as alerting, App(ward.lab) as app:
        app.await_writes()
        ward.record()
        ward.lab.kill_node("n1")
        began = datetime.now(UTC)
        for _ in range(3):  # as Prometheus does, again and again
            alerting.post(ward.target, began)
        run = ward.await_outcome(Outcome.RECOVERED)
        app.await_writes()
    assert (run.procedure, run.requested_by) == ("postgres-failover", "alertmanager")
    assert run.parameters["reason"] == "PrimaryDown: takes no writes"
    assert ward.await_state(run.flow_run_id, Outcome.RECOVERED)["name"] == Outcome.RECOVERED
    assert [r.id for r in ward.of_target()] == [run.id]
    assert_rows_kept(app)


def test_an_alert_that_is_resolved_cancels_what_has_not_begun(ward: Ward, tmp_path: Path) -> None:
    """The responder is held still, so that the run is still waiting when the alert ends; it never starts."""
    with alertmanager(ward.plane, tmp_path) as alerting, holding_still(ward.plane, "responder"):
        began = datetime.now(UTC)
        alerting.post(ward.target, began)
        waiting = ward.until(lambda: unbegun(ward), 30, "a run to be scheduled")
        alerting.post(ward.target, began, over=True)
        ward.await_state(waiting["id"], "Cancelled")
    assert alerts.is_resolved(ward.ledger, waiting["parameters"]["alert"])
    # The responder is well again, and has seen that run: the next one of the same target it executes.
    assert ward.run("postgres-failover").outcome == Outcome.NOTHING_TO_DO
    assert ward.state(waiting["id"])["name"] == "Cancelled"
    assert waiting["id"] not in {run.flow_run_id for run in ward.of_target()}


def unbegun(ward: Ward) -> dict | None:
    """Return the run of this target that is scheduled."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    found = ward.http.post("/flow_runs/filter", json=wanted).raise_for_status().json()
    return next((run for run in found if run["parameters"].get("target") == ward.target), None)


@contextmanager
def holding_still(plane: Plane, name: str) -> Iterator[None]:
    """Stop a process of the plane and what it has started, as a machine that swaps would."""
    pid = plane.processes[name].pid
    held = [pid, *descendants(pid)]
    for each in held:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in held:
            os.kill(each, signal.SIGCONT)
