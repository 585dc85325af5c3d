"""Everything is taken by a Prefect server as it comes, by Prefect's own commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from flows.triggers.events import EVENT_NAMES
from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.ports import pick
from flows.triggers.plane.registration import POOLS
from tasks.event import Payload
from tests.contract.source import deployments

PATIENCE_SECONDS = 240


pytestmark = pytest.mark.timeout(600)


class Stock:
    """A Prefect server without anything of ours, and the `prefect` command that speaks to it."""

    def __init__(self, home: Path) -> None:
        """Start it."""
        port = pick(0)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=30)
        self.env = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": str(self.http.base_url).rstrip("/")}
        with (home / "server.log").open("wb") as log:
            command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    def prefect(self, *arguments: str) -> str:
        """Run `prefect ARGUMENTS` where a user would."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=PROJECT, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> bool:
        try:
            return self.http.get("/health").is_success
        except httpx.HTTPError:
            return False

    def runs(self) -> list[dict[str, Any]]:
        return self.http.post("/flow_runs/filter", json={"sort": "ID_DESC"}).raise_for_status().json()


def until(holds: Any, what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    """Deploy as the README says, on a server of one's own."""
    home = Path(tempfile.mkdtemp(prefix="stock-"))
    server = Stock(home)
    try:
        until(server.answers, "the server")
        for name, worker in POOLS.items():
            server.prefect("work-pool", "create", name, "--type", worker.type)
        server.prefect("deploy", "--prefect-file", "deployments.yaml", "--all")
        yield server
    finally:
        server.process.terminate()
        server.process.wait()
        shutil.rmtree(home)


def test_everything_is_deployed(stock: Stock) -> None:
    """Every deployment is there, with its entrypoint, its automation and its schedules."""
    asked = deployments()["deployments"]
    made = {d["name"]: d for d in stock.http.post("/deployments/filter", json={}).json()}
    assert {name: d["entrypoint"] for name, d in made.items()} == {d["name"]: d["entrypoint"] for d in asked}
    assert [len(made[d["name"]]["schedules"]) for d in asked] == [len(d.get("schedules", [])) for d in asked]
    assert not [d["name"] for d in made.values() if d["pull_steps"]]
    automations = stock.http.post("/automations/filter", json={}).json()
    assert {a["name"] for a in automations} == {t["name"] for d in asked for t in d.get("triggers", [])}


def test_every_trigger_starts_its_run(stock: Stock) -> None:
    """Each event that a trigger expects creates one run, dry if it says so, with every parameter in its type."""
    wanted = {}
    for deployment in deployments()["deployments"]:
        for trigger, number, name in heard(deployment):
            dry = trigger["match"]["salvor.dry-run"]
            target = f"t{number}-{dry}-{deployment['name']}"
            wanted[target] = {"dry_run": True} if dry == "yes" else deployment.get("parameters", {}).get("policy")
            said = event(name, deployment["name"], target, dry_run=dry == "yes")
            stock.http.post("/events", json=[said]).raise_for_status()
    until(lambda: len(stock.runs()) >= len(wanted), "the runs")
    found = {run["parameters"]["target"]: run for run in stock.runs() if run["auto_scheduled"] is False}
    assert set(found) == set(wanted)
    for target, run in found.items():
        assert run["parameters"].get("policy") == wanted[target]
        assert run["parameters"]["requested_by"] == "kim"


def heard(deployment: dict[str, Any]) -> list[tuple[dict[str, Any], int, str]]:
    """List every event that some trigger of a deployment expects."""
    return [(t, number, name) for t in deployment["triggers"] for number, name in enumerate(t["expect"])]


def event(name: str, procedure: str, target: str, *, dry_run: bool = False) -> dict[str, Any]:
    """Make an event as the receiver does."""
    payload = Payload(
        procedure=procedure, target=target, reason="a reason with 'quotes' and \"more\"", requested_by="kim",
        alert="f00d", severity="critical", source="test", dry_run=dry_run, started_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    subject = procedure.partition("-")[0]
    resource = {"prefect.resource.id": f"recovery.{subject}.{target}", "salvor.procedure": procedure}
    resource["salvor.dry-run"] = "yes" if dry_run else "no"
    occurred = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"id": str(uuid4()), "event": name, "occurred": occurred, "resource": resource, "related": []} | {
        "payload": payload.model_dump()
    }


def test_other_events_start_nothing(stock: Stock) -> None:
    """An alert that is over, or that names another procedure, creates no run."""
    before = len(stock.runs())
    over = [name for (_, status), name in EVENT_NAMES.items() if status == "resolved"]
    assert over
    for name in over:
        stock.http.post("/events", json=[event(name, "postgres-failover", "over")]).raise_for_status()
    stock.http.post("/events", json=[event("generic.alert.fired", "postgres-unknown", "x")]).raise_for_status()
    stock.http.post("/events", json=[event("generic.alert.fired", "postgres-failover", "last")]).raise_for_status()
    until(lambda: any(run["parameters"].get("target") == "last" for run in stock.runs()), "the last run")
    assert len(stock.runs()) == before + 1


def test_every_block_can_be_registered(stock: Stock) -> None:
    """`prefect block register -m blocks.catalogue` makes all blocks known."""
    stock.prefect("block", "register", "-m", "blocks.catalogue")
    from blocks.catalogue import BLOCKS  # noqa: PLC0415  # after the server, whose settings it must not see

    known = {t["slug"] for t in stock.http.post("/block_types/filter", json={}).json()}
    assert {block.get_block_type_slug() for block in BLOCKS} <= known
