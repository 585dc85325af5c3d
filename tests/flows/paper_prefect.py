"""A Prefect whose memory is a directory, so that it survives the process that talks to it, and a kill at any line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blocks.errors import Transient
from blocks.prefect_runs import Standing, Unstartable


class PaperPrefect:
    """Keeps states, runs, reports and events as files; counts what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.down = False
        self.deployments = {"d1"}
        for kind in ("states", "runs", "reports", "events"):
            (directory / kind).mkdir(parents=True, exist_ok=True)

    def _write(self, kind: str, key: str, value: Any) -> None:
        if self.down:
            raise Transient("Prefect did not answer.")
        path = self.directory / kind / key
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(value))
        draft.rename(path)

    def seen(self, kind: str) -> dict[str, Any]:
        found = (self.directory / kind).iterdir()
        return {path.name: json.loads(path.read_text()) for path in found if path.suffix != ".draft"}

    def stands(self, flow_run_id: str, kind: str, name: str = "", message: str = "") -> None:
        self._write("states", flow_run_id, [kind, name or kind.title(), message])

    def standing(self, flow_run_id: str) -> Standing | None:
        if self.down:
            raise Transient("Prefect did not answer.")
        state = self.seen("states").get(flow_run_id)
        return Standing(kind=state[0], name=state[1], message=state[2]) if state else None

    def crash(self, flow_run_id: str, why: str) -> None:
        self.stands(flow_run_id, "CRASHED", message=why)

    def cancel(self, flow_run_id: str) -> None:
        self.stands(flow_run_id, "CANCELLED")

    def end(self, flow_run_id: str, outcome: str, why: str, *, succeeded: bool) -> None:
        self.stands(flow_run_id, "COMPLETED" if succeeded else "FAILED", outcome, why)

    def start(self, deployment_id: str, parameters: dict[str, Any], key: str) -> str:
        if deployment_id not in self.deployments:
            raise Unstartable
        self._write("runs", key, {"deployment_id": deployment_id, "parameters": parameters})
        return f"successor of {key}"

    def report(self, flow_run_id: str, key: str, markdown: str, description: str) -> None:
        self._write("reports", flow_run_id, [key, markdown, description])

    def post_event(self, body: dict[str, Any]) -> None:
        self._write("events", body["id"], body)
