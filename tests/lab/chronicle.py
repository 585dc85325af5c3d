"""What the control plane wrote down about a recovery: read from its ledger and its API, never from the lab."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import select

from blocks.ledger import positions, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Run, StepRecord
from blocks.ledger.schema import outbox
from flows.triggers.plane.plane import Plane
from tests.lab.button import press_run

LOST = "sentinel.primary.lost"


class Chronicle:
    """The control plane's account of one target."""

    def __init__(self, plane: Plane, target: str) -> None:
        """Read what PLANE knows of TARGET."""
        self.target = target
        self.ledger = Ledger(url=f"sqlite:///{plane.root / 'ledger.db'}")  # type: ignore[arg-type]
        self._api = httpx.Client(base_url=plane.api_url, auth=tuple(plane.auth.split(":", 1)), timeout=10)  # type: ignore[arg-type]

    def watched(self) -> bool:
        """Tell whether a sentinel has written down where the primary is."""
        return positions.last(self.ledger, f"recovery.postgres.{self.target}") is not None

    def alarm(self) -> tuple[datetime, str] | None:
        """Tell when the loss was told first, and in which words."""
        query = select(outbox.c.payload).where(outbox.c.kind == "event").order_by(outbox.c.id)
        with self.ledger.read() as connection:
            events = connection.execute(query).scalars().all()
        told = (event for event in events if event["event"] == LOST and event["payload"]["target"] == self.target)
        first = next(told, None)
        return (datetime.fromisoformat(first["occurred"]), first["payload"]["reason"]) if first else None

    def run(self, procedure: str = "") -> Run | None:
        """Return the newest run of the target, of any PROCEDURE or of that one."""
        found = (run for run in runs.history(self.ledger, limit=20) if run.target == self.target)
        return next((run for run in found if procedure in ("", run.procedure)), None)

    def steps(self, run: Run) -> list[StepRecord]:
        """List the acts of a run."""
        return steps.timeline(self.ledger, run.id)

    def press_run(self, procedure: str, **parameters: Any) -> str:
        """Start a run of the deployment, as the Run button of the UI does; return its id."""
        return press_run(self._api, procedure, {"target": self.target, **parameters})

    def first_task_ended(self, run: Run) -> datetime | None:
        """Tell when the first task of a run was done."""
        asked = {"flow_runs": {"id": {"any_": [run.flow_run_id]}}}
        tasks = self._api.post("/task_runs/filter", json=asked).raise_for_status().json()
        ends = [datetime.fromisoformat(task["end_time"]) for task in tasks if task["end_time"]]
        return min(ends, default=None)
