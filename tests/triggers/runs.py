"""What a test of the responder says to a Prefect server, and reads from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import descendants

PATIENCE_SECONDS = 60
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until HOLDS, and return what it said."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@dataclass
class Run:
    """A flow run, with the file in which it notes what it does."""

    server: Server
    id: str
    notes: Path

    def read(self) -> dict[str, Any]:
        return self.server.http.get(f"/flow_runs/{self.id}").raise_for_status().json()

    def state(self) -> str:
        return str(self.read()["state_name"])

    def states(self) -> list[str]:
        found = self.server.http.get("/flow_run_states/", params={"flow_run_id": self.id}).json()
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]

    def end(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait for the end and return the state's name."""
        until(lambda: self.read()["state_type"] in FINAL, f"the end of {self.id}, {self.state()}", seconds)
        return self.state()

    def lines(self, word: str) -> list[str]:
        """Return what it noted with this first word."""
        noted = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in noted if line.split()[0] == word]

    def pid(self) -> int:
        """Wait until it runs and return its process."""
        return int(until(lambda: self.lines("looked"), f"{self.id} to begin")[0].split()[1])

    def set(self, kind: str, name: str, message: str = "") -> None:
        """Propose a state, as the UI does."""
        state = {"type": kind, "name": name, "message": message}
        self.server.http.post(f"/flow_runs/{self.id}/set_state", json={"state": state}).raise_for_status()


class Server:
    """The Prefect server of a plane, and a folder for what runs note."""

    def __init__(self, plane: Plane, folder: Path) -> None:
        """Speak to the server of PLANE."""
        self.plane = plane
        self.folder = folder
        self.http = httpx.Client(base_url=plane.api_url, auth=tuple(plane.auth.split(":", 1)), timeout=30)

    def deploy(self, name: str, called: str, **other: Any) -> None:
        """Deploy the sample NAME once more, as CALLED on the pool of that name or of the original."""
        original = self.http.get(f"/deployments/name/sample-{name}/{name}").raise_for_status().json()
        kept = {key: original[key] for key in ("flow_id", "entrypoint", "parameter_openapi_schema", "job_variables")}
        pools = {pool["name"] for pool in self.http.post("/work_pools/filter", json={}).json()}
        pool = called if called in pools else original["work_pool_name"]
        self.http.post("/deployments/", json=kept | {"name": called, "work_pool_name": pool} | other).raise_for_status()

    def start(self, name: str, called: str = "", **more: Any) -> Run:
        """Create a run of the sample NAME; more than its parameters goes to the request."""
        deployment = self.http.get(f"/deployments/name/sample-{name}/{called or name}").raise_for_status().json()
        notes = self.folder / uuid4().hex
        parameters = {"path": str(notes)} | more.pop("parameters", {})
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED", "name": "Scheduled"}} | more
        made = self.http.post(f"/deployments/{deployment['id']}/create_flow_run", json=asked)
        assert made.is_success, made.text
        return Run(self, made.json()["id"], notes)

    def alert(self) -> tuple[dict[str, Any], Path]:
        """Let an alert fire for which there is an automation; return the event and where its run will note."""
        notes = self.folder / uuid4().hex
        event = {
            "id": str(uuid4()),
            "event": "generic.alert.fired",
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "resource": {"prefect.resource.id": f"recovery.sample.{notes.name}"},
            "related": [],
            "payload": {"path": str(notes)},
        }
        self.http.post("/events", json=[event]).raise_for_status()
        return event, notes

    def logged(self, run: Run) -> str:
        """Return what Prefect keeps as the log of RUN."""
        wanted = {"logs": {"flow_run_id": {"any_": [run.id]}}}
        return "\n".join(line["message"] for line in self.http.post("/logs/filter", json=wanted).json())


@contextmanager
def process(plane: Plane, log: Path, *command: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m COMMAND` as a part of the plane would run, and end it and all it started."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=PROJECT, env=plane.env | env, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        left = descendants(started.pid)
        started.kill()
        started.wait()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
