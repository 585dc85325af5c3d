"""What the control plane wrote down about a recovery: read from its ledger and its API, never from the lab."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import select

from blocks.ledger import positions, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Run, StepRecord
from blocks.ledger.schema import alerts
from flows.triggers.plane import Plane

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

    def alarms(self) -> list[tuple[datetime, str]]:
        """List when a loss was told, and in which words."""
        query = select(alerts.c.first_seen_at, alerts.c.payload, alerts.c.name).where(
            alerts.c.target == self.target, alerts.c.status == "firing"
        )
        with self.ledger.read() as connection:
            return [(row.first_seen_at, row.name) for row in connection.execute(query)]

    def run(self) -> Run | None:
        """Return the newest run of the target."""
        return next((run for run in runs.history(self.ledger, limit=20) if run.target == self.target), None)

    def steps(self, run: Run) -> list[StepRecord]:
        """List the acts of a run."""
        return steps.timeline(self.ledger, run.id)

    def event(self) -> dict[str, Any] | None:
        """Return the event that began it."""
        asked = {"filter": {"event": {"name": [LOST]}, "order": "ASC"}, "limit": 10}
        return next(iter(self._post("/events/filter", asked)["events"]), None)

    def first_task_ended(self, run: Run) -> datetime | None:
        """Tell when the first task of a run was done."""
        asked = {"flow_runs": {"id": {"any_": [run.flow_run_id]}}}
        ends = [task["end_time"] for task in self._post("/task_runs/filter", asked) if task["end_time"]]
        return datetime.fromisoformat(min(ends)) if ends else None

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        return self._api.post(path, json=asked).raise_for_status().json()
