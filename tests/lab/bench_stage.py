"""Where the bench plays: a control plane, and a ward of its own for every run, so that no run knows of another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from blocks.ledger.records import Run
from blocks.postgres import PostgresCluster
from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import began, end
from tasks.model import Outcome
from tests.drills.ward import Ward, speaking_to
from tests.lab.cluster import Lab

FAILOVER = "postgres-failover"
STOCK_POOL = "salvor"
LOOK_SECONDS = 0.25
QUERY_SECONDS = "PREFECT_WORKER_QUERY_SECONDS"


@dataclass
class Stage:
    """The control plane and, while a scene needs one, its lab."""

    plane: Plane

    @contextmanager
    def lab(self) -> Iterator[Lab]:
        """Bring a patient up: three durable servers, one of which must confirm each commit, and a pooler."""
        with Lab() as lab:
            yield lab

    def ward(self, lab: Lab, *, watched: bool = False) -> Ward:
        """Give the lab a new name, under which nothing is remembered of earlier runs; WATCHED by a sentinel soon."""
        ward = Ward(self.plane, lab)
        # What a user gets: a ward of the tests is given more time for an answer.
        ward.change_block(probe_deadline_seconds=PostgresCluster.model_fields["probe_deadline_seconds"].default)
        if not watched:
            ward.record(lab.primary())
        return ward

    def rejoin(self, lab: Lab) -> Run:
        """Bring the old primary back with our own procedure."""
        return recovered(self.ward(lab).run("postgres-rejoin"))

    @contextmanager
    def stock(self) -> Iterator[None]:
        """Let Prefect's own process worker, with its defaults, run the failovers for a while."""
        with self._http() as http, self._worker():
            deployment = http.get(f"/deployments/name/{FAILOVER}/{FAILOVER}").raise_for_status().json()
            self._wait_for_worker(http)
            http.patch(f"/deployments/{deployment['id']}", json={"work_pool_name": STOCK_POOL}).raise_for_status()
            try:
                yield
            finally:
                back = {"work_pool_name": deployment["work_pool_name"]}
                http.patch(f"/deployments/{deployment['id']}", json=back).raise_for_status()

    @contextmanager
    def _worker(self) -> Iterator[None]:
        env = {name: value for name, value in self.plane.env.items() if name != QUERY_SECONDS}
        command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", STOCK_POOL]
        with (self.plane.logs / "stock.log").open("ab") as log:
            child = subprocess.Popen(command, env=env, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            end(child.pid, began(child.pid), 15)
            child.wait()

    @staticmethod
    def _wait_for_worker(http: httpx.Client) -> None:
        deadline = time.monotonic() + 60
        while not http.post(f"/work_pools/{STOCK_POOL}/workers/filter", json={}).raise_for_status().json():
            if time.monotonic() > deadline:
                raise TimeoutError("The stock worker did not come up.")
            time.sleep(0.2)

    def _http(self) -> httpx.Client:
        user, _, password = self.plane.auth.partition(":")
        return httpx.Client(base_url=self.plane.api_url, auth=(user, password), timeout=30)


@contextmanager
def stage() -> Iterator[Stage]:
    """Bring the control plane up without what the bench does not measure, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with Plane(root, parts=("server", "responder", "registration")) as plane, speaking_to(plane):
            yield Stage(plane)
    finally:
        if os.environ.get("BENCH_KEEP"):
            shutil.copytree(root / "logs", os.environ["BENCH_KEEP"], dirs_exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)


def outcome(ward: Ward, seconds: float = 90) -> Run:
    """Wait until a failover of WARD has ended, looking so seldom that nobody misses the processor."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if ended := [run for run in ward.of_target() if run.outcome]:
            return recovered(ended[0])
    raise TimeoutError(f"No run of {ward.target} ended in {seconds:g} s.")


def recovered(run: Run) -> Run:
    """Return RUN when it ended well, for a number of anything else would mean nothing."""
    if run.outcome != Outcome.RECOVERED:
        raise RuntimeError(f"{run.procedure} ended {run.outcome}: {run.why}\n{run.markdown}")
    return run
