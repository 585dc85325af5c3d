"""Where the backup bench plays: a Prefect server, a ledger, and a durable PostgreSQL with pgbench's tables and a shop.

A run is the real flow function in a process of its own, as in the other benches. The bare engine is PostgreSQL's own
programs, run on the same host as the same user, each after the dirty pages of the one before are written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from blocks.backup_repository import BackupRepository
from blocks.ledger import runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import StepRecord
from flows.triggers.plane.plane import Plane
from tests.drills.ward import speaking_to
from tests.lab import blocks as lab_blocks
from tests.lab.bench import say
from tests.lab.bench_apart import run_apart
from tests.lab.cluster import Lab
from tests.lab.disaster import kept_sets
from tests.lab.node import LabNode
from tests.lab.processes import wait_until

DATABASE = "bench"
#: Of pgbench: 2 GB.
SCALE = 134
#: What a small server of one's own has; the lab's are made for tests.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
    "dynamic_shared_memory_type": "posix",
    "io_method": "worker",
}
#: How the bare engine finds WAL: newest folder first, whole files before the part of one.
FETCH = """
for kind in "" .partial; do
  for folder in $(ls -dr "$1"/*/); do
    [ ! -e "$folder$2$kind" ] || exec cp "$folder$2$kind" "$3"
  done
done
exit 1
"""
RECOVER_SECONDS, LOOK_SECONDS = 300.0, 0.02


@dataclass
class Ran:
    """One run."""

    outcome: str
    why: str
    begun: float
    ended: float
    cpu_seconds: float
    peak_mb: float
    imports_mb: float
    entered: float = 0.0  #: when it stood in the ledger: Prefect's own start of a run is bench-failover's
    steps: list[StepRecord] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def took(self, *names: str) -> float:
        """How long these acts took together."""
        ends = [(each.started_at, each.ended_at) for each in self.steps if each.name in names and each.ended_at]
        return sum((end - start).total_seconds() for start, end in ends)

    @property
    def acts(self) -> float:
        """From the beginning of the first act to the end of the last."""
        ends = [each.ended_at for each in self.steps if each.ended_at]
        return (max(ends) - self.steps[0].started_at).total_seconds()

    @property
    def phases(self) -> dict[str, float]:
        """Say how long each part took."""
        first = self.steps[0].started_at.timestamp()
        found = {"start": self.entered - self.begun, "look and gate": first - self.entered}
        for each in self.steps:
            found[each.name] = self.took(each.name)
        return found | {"rest": self.ended - first - sum(self.took(name) for name in {s.name for s in self.steps})}


@dataclass
class Stage:
    """Everything that a scene needs."""

    plane: Plane
    lab: Lab
    ledger: Ledger
    root: Path
    pgbench_scale: int

    @property
    def node(self) -> LabNode:
        """The only server."""
        return self.lab.nodes["n1"]

    @property
    def aside(self) -> Path:
        """Where the bare engine works: on the same disk."""
        return self.node.disk / "bare"

    @property
    def sets(self) -> Path:
        """Where our sets are."""
        return self.lab.vault / "repository" / "sets"

    def prepare(self) -> None:
        """Make the tables, and let everything be known to Salvor."""
        begun = time.monotonic()
        for name, value in SETTINGS.items():
            self.node.psql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.node.stop()
        self.node.start()
        self.node.psql(f"CREATE DATABASE {DATABASE}")
        self.pgbench("-i", "-q", "-s", self.pgbench_scale)
        self.node.psql("CREATE EXTENSION amcheck", DATABASE)
        self.node.psql("CHECKPOINT", seconds=RECOVER_SECONDS)
        size = self.node.psql(f"SELECT pg_size_pretty(pg_database_size('{DATABASE}'))")[0][0]
        say(f"a database of {size} is made, {time.monotonic() - begun:.0f} s")
        for name, block in lab_blocks.describe(self.lab, activity=True):
            if isinstance(block, BackupRepository):
                block.databases = ["orders", DATABASE]
            if name != lab_blocks.LEDGER:
                block.save(name, overwrite=True)

    def pgbench(self, *options: object) -> None:
        """Run pgbench."""
        program = self.node.bin / "pgbench"
        self.run_on_host(program, *options, self.node.conninfo(DATABASE))

    # --- the bare engine

    def run_on_host(self, *argv: object) -> None:
        """Run a program as the database's user."""
        self.lab.world.run([str(each) for each in argv], self.node.folder, self.node.folder / "commands.log")

    def timed(self, *argv: object) -> float:
        """Run a program that has the disk for itself, and say how long it took."""
        os.sync()
        begun = time.monotonic()
        self.run_on_host(*argv)
        return time.monotonic() - begun

    def copied(self, source: Path) -> float:
        """Copy a directory with `cp -a`, and say how long it took."""
        self.clear()
        return self.timed("cp", "-a", source, self.aside)

    def based(self, parent: Path | None = None) -> float:
        """Take a backup with pg_basebackup alone, and say how long it took."""
        self.clear()
        source = lab_blocks.cluster(self.lab).replication_conninfo("n1", "bare")
        more = ["-i", parent / "data" / "backup_manifest"] if parent else []
        return self.timed(self.node.bin / "pg_basebackup", "-d", source, "-D", self.aside, "-c", "fast", *more)

    def restored(self, made: Path) -> float:
        """Copy a set with `cp -a`, start it at a port of its own, and say how long it took until it takes writes."""
        self.clear()
        os.sync()
        begun = time.monotonic()
        self.run_on_host("cp", "-a", made / "data", self.aside)
        self._configure()
        self._control("start")
        wait_until(self._writable, RECOVER_SECONDS, "the bare restore to take writes", LOOK_SECONDS)
        seconds = time.monotonic() - begun
        self._control("stop", "-m", "immediate")
        self.clear()
        return seconds

    def _configure(self) -> None:
        settings = {
            "restore_command": f"sh fetch {self.lab.vault / 'repository' / 'wal'} %f %p",
            "port": self.lab.spec["scratch"],
        }
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        auto = self.aside / "postgresql.auto.conf"
        for path, text in ((auto, lines), (self.aside / "fetch", FETCH), (self.aside / "recovery.signal", "")):
            path.write_text(text)
            self.lab.account.own(path)

    def _control(self, verb: str, *options: str) -> None:
        log = self.node.folder / "bare.log"
        self.run_on_host(self.node.bin / "pg_ctl", "-D", self.aside, "-l", log, "-w", "-s", *options, verb)

    def _writable(self) -> bool:
        conninfo = psycopg.conninfo.make_conninfo(self.node.conninfo(), port=self.lab.spec["scratch"])
        with psycopg.connect(conninfo) as session:
            return session.execute("SELECT pg_is_in_recovery()").fetchall() == [(False,)]

    def clear(self) -> None:
        """Remove what the bare engine has made."""
        shutil.rmtree(self.aside, ignore_errors=True)

    # --- ours

    def run(self, procedure: str, target: str = lab_blocks.CLUSTER, **policy: Any) -> Ran:
        """Run a procedure to its end; one that did not end well is an error, for its number means nothing."""
        # Blocks of a virtual machine's disk that were never written take twice as long: both find some that are free.
        self.clear()
        os.sync()
        ran = Ran(**run_apart(self.plane, procedure, target, policy))
        if ran.outcome != "Recovered":
            raise RuntimeError(f"{procedure} ended {ran.outcome}: {ran.why}")
        run = runs.history(self.ledger)[0]
        ran.entered, ran.steps = run.started_at.timestamp(), steps.timeline(self.ledger, run.id)
        ran.figures = (run.report or {}).get("figures", {})
        return ran

    def newest(self) -> Path:
        """Give the newest set."""
        return self.sets / kept_sets(self.lab)[-1]

    def megabytes(self) -> list[int]:
        """Say how large each set is."""
        records = (json.loads((self.sets / name / "set.json").read_text()) for name in kept_sets(self.lab))
        return [round(each["bytes"] / 2**20) for each in records]

    def forget_older(self, keep: int = 1) -> None:
        """Remove all sets but the newest KEEP."""
        for name in kept_sets(self.lab)[:-keep]:
            shutil.rmtree(self.sets / name)


@contextmanager
def stage(scale: float) -> Iterator[Stage]:
    """Bring everything up, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with (
            Plane(root, parts=("server",)) as plane,
            speaking_to(plane),
            Lab(nodes=1, sync=False, proxies=False) as lab,
        ):
            ledger = Ledger(url=SecretStr(f"sqlite:///{root}/ledger.db"))
            ledger.upgrade()
            ledger.save("ledger", overwrite=True)
            found = Stage(plane, lab, ledger, root, max(1, round(SCALE * scale)))
            found.prepare()
            yield found
    finally:
        shutil.rmtree(root, ignore_errors=True)


def filesystem(folder: Path) -> str:
    """Name the file system that FOLDER is on."""
    asked = ["df", "--output=fstype", str(folder)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[-1]


def load() -> float:
    """Say how busy the machine is."""
    return os.getloadavg()[0]
