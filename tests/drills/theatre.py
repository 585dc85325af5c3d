"""A ward with a responder of its own, whose runs can be told to die, and all that is seen after each death."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events import Event
from sqlalchemy import select

from blocks.ledger import outbox, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Run, StepRecord
from blocks.ledger.schema import leases, operations, runs
from blocks.node_control import CommandControl
from blocks.postgres import PostgresCluster
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import began, descendants
from flows.triggers.plane.supervisor import end as end_process
from flows.triggers.responder.worker import Responder
from tests.drills import saboteur
from tests.drills.program import PROCEDURES, Blow, module_of
from tests.drills.understudy import Understudies
from tests.drills.ward import TERMINAL, Ward
from tests.lab.app import App
from tests.lab.node import LabNode
from tests.lab.processes import wait_until

CASE_SECONDS = 120
PROOF = {"prefect.resource.id": "drill.sweep"}
LOOK_SECONDS = 0.2
PROMOTED = "received promote request"
#: Passes a script on to a host, and writes down what it was for.
RECORDER = """#!/bin/sh
case "$1" in
  *'/pg_rewind" -D'*) echo rewind ;;
  *'/pg_basebackup" -d'*) echo copy ;;
  *'pg_ctl" start'*) echo start ;;
esac >> {book}
exec {shell} "$1"
"""


@dataclass(frozen=True)
class Scene:
    """How the patient is."""

    primary: str
    timeline: int
    streaming: list[str]
    promotions: frozenset[str]  #: what the servers said about it
    scripts: list[str]  #: what was done on the hosts so far, of the things that must not be done twice
    port: int  #: of the primary
    clients: list[dict[str, str]]  #: where the pooler sends them, and whether they are held


@dataclass(frozen=True)
class Case:
    """One blow: what was before, what became of it, and what is now."""

    before: Scene
    after: Scene
    fallen: list[str]
    runs: list[Run]
    states: list[str]
    acts: list[StepRecord]
    lease: str | None  #: who holds it
    operations: list[tuple[str, int]]  #: status and attempts of what the runs had opened
    left_open: list[str]
    under_way: list[str]  #: in Prefect's eyes

    @property
    def scripts(self) -> list[str]:
        """What was done on the hosts."""
        return self.after.scripts[len(self.before.scripts) :]


@dataclass
class Theatre(Ward):
    """One patient, one work pool, one responder, one shop that writes all the time."""

    understudies: Understudies = field(kw_only=True)
    procedures: tuple[str, ...] = field(default=PROCEDURES, kw_only=True)

    def __enter__(self) -> Self:
        """Open it."""
        self._record_scripts()
        self.call_in()
        self._calm_pooler()
        self.app = App(self.lab, writers=2, rate=10).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; what dead responders left behind is ended as well."""
        self.app.stop()
        self.dismiss()

    def call_in(self) -> None:
        """Have a work pool and a responder of its own."""
        self.deployment = self.target
        self.orders = sabotage(self.plane)
        self._responder = 0
        self._left: dict[int, str] = {}
        self._deploy()
        self.tend()

    def dismiss(self) -> None:
        """End them, and what dead responders left behind."""
        self._remember_children()
        self._left[self._responder] = began(self._responder)
        for pid, start in self._left.items():
            end_process(pid, start, 0)
        self.http.close()

    def _record_scripts(self) -> None:
        cluster, nodes = PostgresCluster.load(self.target), []
        for name, node in self.lab.nodes.items():
            recorder = node.folder / "recorder"
            recorder.write_text(RECORDER.format(book=self.book, shell=node.host_shell))
            recorder.chmod(0o755)
            control = CommandControl(template=f"{recorder} {{script}}")
            nodes.append(cluster.node(name).model_copy(update={"control": control}))
        self.book.touch()
        # Several stages share the machine: what is slow is not dead.
        self.change_block(nodes=nodes, probe_deadline_seconds=2)

    def _calm_pooler(self) -> None:
        """Let the pooler rest a little between two tries, or it uses up a processor until somebody is promoted."""
        if self.lab.pooler:
            settings = self.lab.pooler.folder / "pgbouncer.ini"
            settings.write_text(settings.read_text().replace("server_login_retry = 0\n", "server_login_retry = 0.1\n"))
            self.lab.pooler.admin("RELOAD")

    @property
    def book(self) -> Path:
        """What was done on the hosts."""
        return self.lab.root / "scripts"

    def _deploy(self) -> None:
        template = Responder.get_default_base_job_template()
        template["variables"]["properties"]["preload"]["default"] = [saboteur.__name__]
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=self.target, type="responder", base_job_template=template))
            for procedure in self.procedures:
                known = client.read_deployment_by_name(f"{procedure}/{procedure}")
                client.create_deployment(
                    flow_id=known.flow_id,
                    name=self.target,
                    entrypoint=f"{module_of(procedure).__name__}.{procedure.replace('-', '_')}",
                    work_pool_name=self.target,
                    parameter_openapi_schema=known.parameter_openapi_schema,
                )

    # --- the responder

    def tend(self) -> None:
        """Start the responder when there is none, as its supervisor would."""
        if not saboteur.alive(self._responder):
            self._responder = self.understudies.responder(self.target, f"{self.plane.logs}/responder-{self.target}.log")

    def _remember_children(self) -> None:
        self._left |= {pid: began(pid) for pid in descendants(self._responder)}

    # --- one case

    def perform(self, procedure: str, *blows: Blow) -> Case:
        """Do what a procedure is for, let the blows fall, one a run, and wait until everything is at rest again."""
        before = self.look()
        self.record(before.primary)
        if procedure == "postgres-failover":
            self.lab.kill_node(before.primary)
        fallen = len(saboteur.struck(self.orders, self.target))
        found = self.befall(procedure, {"min_interval_seconds": 0}, *blows)
        self.app.await_writes(5)
        return self._case(before, fallen, found)

    def befall(self, procedure: str, policy: dict[str, Any], *blows: Blow, seconds: float = CASE_SECONDS) -> list[Run]:
        """Let the blows fall, one a run; return the runs when everything is at rest again."""
        saboteur.give(self.orders, self.target, *blows)
        self._remember_children()
        since = datetime.now(UTC)
        self.start(procedure, policy)
        self.until(lambda: self.tend() or self._at_rest(since), seconds, f"{procedure} to end", LOOK_SECONDS)
        return self.runs_since(since)

    def runs_since(self, since: datetime) -> list[Run]:
        """Return the runs of this target that began since then, in their order."""
        mine = (runs.c.target == self.target) & (runs.c.started_at >= since)
        with self.ledger.read() as connection:
            rows = connection.execute(select(runs).where(mine).order_by(runs.c.started_at))
            return [Run.model_validate(row) for row in rows]

    def _at_rest(self, since: datetime) -> bool:
        """Whether the last run has ended, and Prefect knows the end of every one."""
        found = self.runs_since(since)
        return (
            bool(found)
            and found[-1].outcome is not None
            and all(self.state(run.flow_run_id)["type"] in TERMINAL for run in found)
        )

    # --- looking

    def look(self) -> Scene:
        """See how the patient is."""
        lab, primary = self.lab, self.lab.primary()
        shown = lab.pooler.admin("SHOW DATABASES") if lab.pooler else []
        columns = ("host", "port", "paused", "disabled")
        return Scene(
            primary=primary,
            port=lab.nodes[primary].port,
            timeline=lab.nodes[primary].timeline(),
            streaming=lab.streaming(primary),
            promotions=frozenset(line for node in lab.nodes.values() for line in said(node) if PROMOTED in line),
            scripts=self.book.read_text().split(),
            clients=[{c: row[c] for c in columns} for row in shown if row["name"] == "orders"],
        )

    def _case(self, before: Scene, fallen: int, found: list[Run]) -> Case:
        mine = operations.c.resource == self.resource
        opened = select(operations.c.status, operations.c.attempts).where(
            mine, operations.c.run_id.in_([r.id for r in found])
        )
        with self.ledger.read() as connection:
            became = [tuple(row) for row in connection.execute(opened)]
        lease, left_open = self.held()
        return Case(
            before=before,
            after=self.look(),
            fallen=saboteur.struck(self.orders, self.target)[fallen:],
            runs=found,
            states=[self.state(run.flow_run_id)["name"] for run in found],
            acts=[step for run in found for step in steps.timeline(self.ledger, run.id) if step.run_id == run.id],
            lease=lease,
            operations=became,
            left_open=left_open,
            under_way=self.under_way(),
        )

    def held(self) -> tuple[str | None, list[str]]:
        """Say who holds the lease of this target, and which operations on it are not ended."""
        holder = select(leases.c.run_id).where(leases.c.resource == self.resource)
        mine = (operations.c.resource == self.resource) & (operations.c.status == "open")
        with self.ledger.read() as connection:
            lease = connection.execute(holder).scalar_one_or_none()
            return lease, list(connection.execute(select(operations.c.procedure).where(mine)).scalars())

    def under_way(self) -> list[str]:
        """List the runs of this target that Prefect believes to be under way."""
        wanted = {"state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED", "CANCELLING", "PAUSED"]}}}
        found = self.http.post("/flow_runs/filter", json={"flow_runs": wanted}).raise_for_status().json()
        return [run["name"] for run in found if run["parameters"].get("target") == self.target]


def said(node: LabNode) -> list[str]:
    """Return what a server wrote into its logs: that of the lab, and that of a start by Salvor."""
    logs = (node.log, node.data / "salvor-start.log")
    return [line for log in logs if log.exists() for line in log.read_text().splitlines()]


def sabotage(plane: Plane) -> Path:
    """Return the folder of the orders."""
    folder = plane.root / "sabotage"
    folder.mkdir(exist_ok=True)
    return folder


def understudies(plane: Plane) -> Understudies:
    """Have responders at hand whose runs can be told to die."""
    return Understudies(plane.env | {saboteur.FOLDER: str(sabotage(plane))}, [saboteur.__name__])


@contextmanager
def sweeping(plane: Plane) -> Iterator[None]:
    """Have what the dead left behind finished, by a sweep that is seen to be at work."""
    ledger, name = Ledger.load("ledger"), f"drill.sweep.awaited-{uuid4()}"
    command = [sys.executable, "-m", "flows.triggers.sweep"]
    with (plane.logs / "sweep.log").open("ab") as log:
        sweeper = subprocess.Popen(command, env=plane.env, stdout=log, stderr=log)
    try:
        outbox.put(ledger, "event", name, Event(event=name, resource=PROOF).model_dump(mode="json"))
        wait_until(lambda: name not in kept(ledger), 30, "the sweep to be at work", LOOK_SECONDS)
        yield
    finally:
        sweeper.kill()
        sweeper.wait()


def kept(ledger: Ledger) -> set[str]:
    """Return the keys of what has not been delivered."""
    return {parcel.key for parcel in outbox.undelivered(ledger)}
