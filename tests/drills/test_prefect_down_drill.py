"""The Prefect server dies in the middle of a recovery, or before one: nothing that was begun or told is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from blocks.ledger import outbox, runs
from blocks.ledger.records import Parcel
from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills import saboteur
from tests.drills.alarm import delivery, tell
from tests.drills.program import Blow, steps
from tests.drills.theatre import Theatre, sweeping, understudies
from tests.drills.ward import Ward
from tests.drills.witness import assert_rows_kept
from tests.lab.app import App
from tests.lab.cluster import Lab

pytestmark = pytest.mark.drill
FAILOVER = "postgres-failover"


@pytest.mark.long
def test_a_recovery_is_finished_without_prefect_and_shown_when_it_is_back(
    plane: Plane, prefect: None, lab: Lab
) -> None:
    """The server is killed right after the gate: the run ends in the ledger, and later in Prefect, with its report."""
    after_the_gate = Blow(FAILOVER, steps(FAILOVER).index("approve"), "approve", "after", "server")
    with understudies(plane) as cast, Theatre(plane, lab, understudies=cast) as theatre, sweeping(plane):
        with nobody_restarting(plane):
            (theatre.orders / "server").write_text(str(plane.processes["server"].pid))
            theatre.record()
            lab.kill_node("n1")
            saboteur.give(theatre.orders, theatre.target, after_the_gate)
            run_id = theatre.start(FAILOVER)
            theatre.until(lambda: theatre.of_target() and theatre.of_target()[0].ended_at, 60, "an end in the ledger")
            assert not plane.processes["server"].alive
            assert saboteur.struck(theatre.orders, theatre.target) == [str(after_the_gate)]
            (run,) = theatre.of_target()
            assert (run.flow_run_id, run.outcome, run.settled_at) == (run_id, Outcome.RECOVERED, None)
            theatre.app.await_writes()
        theatre.until(lambda: answers(plane), 60, "the server to be back")
        theatre.until(lambda: runs.find(theatre.ledger, run.id).settled_at, 90, "the ledger to know that Prefect knows")
        assert theatre.state(run_id)["name"] == Outcome.RECOVERED
        assert run.markdown in shown(theatre, run_id)
        assert [each.id for each in theatre.of_target()] == [run.id]
        theatre.app.stop()
        assert_rows_kept(theatre.app)


def test_an_alert_that_comes_while_prefect_is_down_is_delivered_when_it_is_back(ward: Ward) -> None:
    """It is stored and acknowledged at once; the sweep hands the event over, and the recovery begins."""
    plane, lab = ward.plane, ward.lab
    with App(lab) as app, sweeping(plane):
        app.await_writes()
        ward.record()
        with nobody_restarting(plane):
            os.kill(plane.processes["server"].pid, signal.SIGKILL)
            lab.kill_node("n1")
            answer = tell(plane, "/hooks/alertmanager", delivery(ward.target, datetime.now(UTC), version="4"))
            assert answer.json()["stored"] == 1
            ward.until(lambda: any(parcel.last_error for parcel in kept(ward)), 30, "a delivery to fail")
            assert ward.of_target() == []
        run = ward.await_outcome(Outcome.RECOVERED, seconds=120)
        app.await_writes()
    assert run.alert == f"{ward.target}-down"
    assert kept(ward) == []
    assert_rows_kept(app)


@contextmanager
def nobody_restarting(plane: Plane) -> Iterator[None]:
    """Let what is killed stay dead meanwhile: the supervisor looks at its processes under this lock."""
    with plane._supervisor._lock:  # noqa: SLF001 - no operator would want this
        yield


def answers(plane: Plane) -> bool:
    """Whether the Prefect server is up."""
    try:
        return httpx.get(f"{plane.api_url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def shown(ward: Ward, run_id: str) -> list[str]:
    """Return the reports of a run that Prefect shows."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["markdown"]}}}
    found = ward.http.post("/artifacts/filter", json=wanted).raise_for_status().json()
    return [artifact["data"] for artifact in found]


def kept(ward: Ward) -> list[Parcel]:
    """List the events about this target that have not been delivered."""
    waiting = outbox.undelivered(ward.ledger)
    return [p for p in waiting if p.kind == "event" and p.payload["resource"]["prefect.resource.id"] == ward.resource]
