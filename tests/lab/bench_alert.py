"""How long it takes from the moment an alert's event is sent until the first task of its run is done."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any
from uuid import uuid4

from blocks.ledger import runs as ledger_runs
from flows.triggers.events import Signal
from flows.triggers.plane.folder import PROJECT
from tests.drills.ward import Ward
from tests.lab.bench_resident import ASKED
from tests.lab.bench_stage import FAILOVER, Stage
from tests.lab.bench_table import Line

#: A process worker asks for work every 10 s, so that an alert must come at any moment of these.
STOCK_SECONDS = 10.0
PAUSE_SECONDS = 3.0
DONE = "task done"
Send = Callable[[Ward, str], None]


def alert(stage: Stage, runs: int) -> Line:
    """Send alerts about a primary that is well: the run looks at the cluster, which is its first task, and ends."""
    line = Line("alert_to_first_task", "alert event -> first task done", 0.5)
    with stage.lab() as lab:
        ward = stage.ward(lab)
        _measured(ward, _alert)  # whatever is first, once, is not what an alert finds
        for _ in range(runs):
            time.sleep(PAUSE_SECONDS)
            phases = _measured(ward, _alert)
            line.ours.append(phases[DONE])
            line.phases.append(phases)
            line.loads.append(os.getloadavg()[0])
        with _resident(stage):
            _measured(ward, _ask_resident)
            line.floor += [_measured(ward, _ask_resident)[DONE] for _ in range(runs)]
        with stage.stock():
            for _ in range(runs):
                time.sleep(random.uniform(0, STOCK_SECONDS))
                line.stock.append(_measured(ward, _alert)[DONE])
    return line


def _measured(ward: Ward, send: Send) -> dict[str, float]:
    """Send one alert; say how many seconds later its run was created, claimed, begun, and its first task done."""
    mark, began = token_hex(6), time.time()
    send(ward, mark)
    run = ward.until(lambda: _run_of(ward, mark), 60, "the run to end")
    moments = ward.until(lambda: _moments(ward, run.flow_run_id), 20, "its first task to be known")
    return {name: round(at - began, 4) for name, at in moments.items()}


def _run_of(ward: Ward, mark: str) -> Any:
    return next((r for r in ledger_runs.history(ward.ledger) if r.requested_by == mark and r.outcome), None)


def _moments(ward: Ward, flow_run_id: str) -> dict[str, float] | None:
    asked = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    tasks = ward.http.post("/task_runs/filter", json=asked).raise_for_status().json()
    first = min((task for task in tasks if task["end_time"]), key=lambda task: str(task["end_time"]), default=None)
    if first is None:
        return None
    states = ward.http.get("/flow_run_states/", params={"flow_run_id": flow_run_id}).raise_for_status().json()
    moments = {f"run {state['name'].lower()}": _seconds(state["timestamp"]) for state in states}
    known = {name: at for name, at in moments.items() if name in ("run scheduled", "run pending", "run running")}
    return known | {"task began": _seconds(first["start_time"]), DONE: _seconds(first["end_time"])}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _alert(ward: Ward, mark: str) -> None:
    signal = Signal(
        source="generic",
        fingerprint=mark,
        starts_at=datetime.now(UTC),
        status="firing",
        procedure=FAILOVER,
        target=ward.target,
        requested_by=mark,
    )
    ward.http.post("/events", json=[signal.event(datetime.now(UTC)).body()]).raise_for_status()


def _ask_resident(ward: Ward, mark: str) -> None:
    event = {
        "id": str(uuid4()),
        "event": ASKED,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "bench"},
        "payload": {"target": ward.target, "requested_by": mark},
    }
    ward.http.post("/events", json=[event]).raise_for_status()


@contextmanager
def _resident(stage: Stage) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.lab.bench_resident"]
    with (stage.plane.logs / "resident.log").open("ab") as log:
        child = subprocess.Popen(
            command, env=stage.plane.env, cwd=PROJECT, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    assert child.stdout is not None
    with child.stdout:
        try:
            child.stdout.readline()
            yield
        finally:
            child.kill()
            child.wait()
