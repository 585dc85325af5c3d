"""A ward: one patient (the lab) under one control plane, and the few words a drill needs to speak about them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from blocks.backup_repository import BackupRepository, Scratch
from blocks.ledger import positions, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Run
from blocks.postgres import PostgresCluster
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import began
from flows.triggers.plane.supervisor import end as end_process
from tasks.model import Outcome, Policy
from tests.lab import blocks as lab_blocks
from tests.lab.button import press_run
from tests.lab.cluster import Lab
from tests.lab.records import record

NUMBERS = count(1)
PROBE_SECONDS = 1.0  #: twice the default, for a machine that has other tests to run
TERMINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@contextmanager
def speaking_to(plane: Plane) -> Iterator[None]:
    """Let Prefect's client in this process speak to PLANE."""
    home = Path(plane.env["PREFECT_HOME"])
    with temporary_settings({PREFECT_API_URL: plane.api_url, PREFECT_API_AUTH_STRING: plane.auth, PREFECT_HOME: home}):
        yield


@dataclass
class Ward:
    """A lab whose blocks the plane knows under a target name of their own."""

    plane: Plane
    lab: Lab
    target: str = field(default_factory=lambda: f"orders-{next(NUMBERS)}")
    deployment: str = ""  #: name of the deployments that runs are started from; empty: the procedure's own

    def __post_init__(self) -> None:
        """Save the blocks of the lab for this target."""
        self.turn_to_plane()
        for name, block in lab_blocks.describe(self.lab):
            if isinstance(block, BackupRepository | Scratch):
                block.save(self.target, overwrite=True)
            elif name == lab_blocks.CLUSTER:
                block.poolers = [f"{self.target}-{p}" for p in block.poolers]
                block.probe_deadline_seconds = PROBE_SECONDS
                block.save(self.target, overwrite=True)
            elif name != lab_blocks.LEDGER:
                block.save(f"{self.target}-{name}", overwrite=True)

    def turn_to_plane(self) -> None:
        """Take hold of the plane and its ledger."""
        self.http = httpx.Client(base_url=self.plane.api_url, auth=tuple(self.plane.auth.split(":", 1)), timeout=30)
        self.ledger = Ledger.load("ledger")

    def __enter__(self) -> Self:
        """Write down how far the primary is, as a sentinel would."""
        self.record()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the plane."""
        self.http.close()

    def change_block(self, **fields: Any) -> None:
        """Save the cluster's block with other FIELDS, as a person would in the UI."""
        cluster = PostgresCluster.load(self.target)
        for name, value in fields.items():
            setattr(cluster, name, value)
        cluster.save(self.target, overwrite=True)

    @property
    def resource(self) -> str:
        """What leases and holds are about."""
        return f"recovery.postgres.{self.target}"

    def record(self, node: str = "n1") -> None:
        """Write down the primary's position, as a sentinel does every second."""
        record(self.ledger, self.resource, self.lab, node)

    # --- runs

    def start(
        self, procedure: str, policy: Policy | dict[str, Any] | None = None, *, validate: bool = True, **given: Any
    ) -> str:
        """Start a run of the deployment, as the Run button does (VALIDATE: its tick of that name); return its id."""
        said = policy.model_dump(mode="json", exclude_unset=True) if isinstance(policy, Policy) else policy
        parameters = {"target": self.target, "requested_by": "drill", **({"policy": said} if said else {}), **given}
        return press_run(self.http, procedure, parameters, self.deployment, validate=validate)

    def state(self, run_id: str) -> dict[str, Any]:
        """Return the Prefect state of a run."""
        return dict(self.http.get(f"/flow_runs/{run_id}").raise_for_status().json()["state"])

    def await_state(self, run_id: str, *names: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until a run is in one of the states NAMES."""
        return dict(self.until(lambda: (s := self.state(run_id))["name"] in names and s, seconds, f"{names}"))

    def ended(self, run_id: str, seconds: float = 60) -> Run:
        """Wait until a run has ended, in Prefect and in the ledger, and return what the ledger holds of it."""
        self.until(lambda: self.state(run_id)["type"] in TERMINAL, seconds, f"run {run_id} to end")
        return runs.find(self.ledger, run_id)

    def run(self, procedure: str, policy: Policy | dict[str, Any] | None = None, **given: Any) -> Run:
        """Run a procedure to its end."""
        return self.ended(self.start(procedure, policy, **given))

    def answer(self, run_id: str, decision: str, approver: str, comment: str = "") -> None:
        """Fill in the form of a run that waits for an approval, and press Resume, as the UI does."""
        self.await_state(run_id, "Paused")
        form = {"decision": decision, "approver": approver, "comment": comment}
        self.http.post(f"/flow_runs/{run_id}/resume", json={"run_input": form}).raise_for_status()

    def of_target(self) -> list[Run]:
        """Return every run of this target, newest first."""
        return [run for run in runs.history(self.ledger) if run.target == self.target]

    def await_outcome(self, outcome: Outcome, seconds: float = 60) -> Run:
        """Wait until some run of this target ended with OUTCOME."""

        def found() -> Run | None:
            return next((run for run in self.of_target() if run.outcome == outcome.value), None)

        return self.until(found, seconds, f"a run of {self.target} that is {outcome}")

    def until(self, found: Any, seconds: float, what: str, step: float = 0.05) -> Any:
        """Wait for a truthy answer; fail with what the runs of this target say."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            time.sleep(step)
        told = [(run.procedure, run.outcome, run.why, self._last_step(run)) for run in self.of_target()]
        raise AssertionError(f"Waited {seconds} s for {what}. Runs: {told}")

    def _last_step(self, run: Run) -> str:
        """Say where a run is, or was, in its acts."""
        last = steps.timeline(self.ledger, run.id)[-1:]
        return "".join(f"{step.name}: {step.found or step.error or 'under way'}" for step in last)

    # --- processes beside the plane

    @contextmanager
    def process(self, *command: str, log: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process of the control plane for the time of a block."""
        path = self.plane.logs / f"{self.target}-{log}.log"
        with path.open("ab") as out:
            child = subprocess.Popen([sys.executable, *command], env=self.plane.env, stdout=out, stderr=out)
        try:
            yield child
        finally:
            end_process(child.pid, began(child.pid), 10)
            child.wait()

    @contextmanager
    def sentinel(self, number: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """Watch this target, and wait until the primary's position is recorded."""
        command = ("-m", "flows.triggers.sentinel", "--target", self.target)
        with self.process(*command, log=f"sentinel-{number}") as child:
            self.until(lambda: positions.last(self.ledger, self.resource), 30, "the sentinel's first record")
            yield child

    @contextmanager
    def sentinels(self, number: int) -> Iterator[None]:
        """Watch this target with several sentinels."""
        with ExitStack() as stack:
            for i in range(number):
                stack.enter_context(self.sentinel(i))
            yield


def environment(plane: Plane) -> dict[str, str]:
    """Return the variables that name PLANE, for a process that the drill starts itself."""
    return {k: v for k, v in plane.env.items() if k not in os.environ or os.environ[k] != v}
