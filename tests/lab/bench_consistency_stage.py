"""Where the consistency bench plays: a Prefect server, a ledger, and a durable PostgreSQL with a large shop.

A run is the real flow function in a process of its own, as in the Stripe bench. The shop is made once, and copied for
every case.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.ledger import runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import StepRecord
from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.plane import Plane
from tests.drills.ward import speaking_to
from tests.lab.bench import say
from tests.lab.bench_apart import run_apart
from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD
from tests.lab.packs import pack

TABLES = Path(__file__).with_name("bench_consistency.sql")
TEMPLATE, SHOP = "template_shop", "shop"
TARGET = "shop-db"
ORPHANS = "payments of users who are gone"
FENCED = "payments of users who are gone, and no new ones"
STATUSES = "users whose subscription says something else"
ENDED_WELL = {"consistency-check": "Unverified", "consistency-repair": "Recovered"}
USERS, EVERY = 1_000_000, 1_000
RATE, SHARE = 100, 0.2
#: What a small server of one's own has; the lab's are made for tests.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
    "dynamic_shared_memory_type": "posix",
    "io_method": "worker",
}
LOST, OUT_OF_STEP = 3, 7  #: remainders of users' ids, see TABLES


@dataclass
class Waits:
    """What the application waited for its writes."""

    all: list[float] = field(default_factory=list)

    @property
    def worst_ms(self) -> float:
        """The longest."""
        return 1000 * max(self.all)

    @property
    def p99_ms(self) -> float:
        """What one in a hundred exceeded."""
        return 1000 * sorted(self.all)[int(len(self.all) * 0.99)]


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

    @property
    def seconds(self) -> float:
        """From the call until the outcome."""
        return self.ended - self.begun

    @property
    def repaired_seconds(self) -> float:
        """From the first look until every row is repaired."""
        (act,) = [each for each in self.steps if each.name == "repair-rows"]
        return (act.ended_at or act.started_at).timestamp() - self.entered

    @property
    def phases(self) -> dict[str, float]:
        """Say how long each part took."""
        begun, last = self.steps[0].started_at.timestamp(), max(each.ended_at or each.started_at for each in self.steps)
        acts = {each.name: ((each.ended_at or last) - each.started_at).total_seconds() for each in self.steps}
        start = {"start": self.entered - self.begun, "look and gate": begun - self.entered}
        return start | acts | {"judge": self.ended - last.timestamp()}


@dataclass
class Stage:
    """Everything that a scene needs."""

    plane: Plane
    lab: Lab
    ledger: Ledger
    users: int

    @property
    def repairing(self) -> dict[str, Any]:
        """The form of a repair that nobody has to approve."""
        return {"dry_run": False, "approve_above_rows": 10 * self.users, "max_share": 1}

    @property
    def lost(self) -> int:
        """How many users are lost; as many have another status than their subscription."""
        return self.users // EVERY

    def url(self, database: str = SHOP, user: str = "shop") -> str:
        """Say where a database is."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.lab.nodes['n1'].port}/{database}"

    def admin(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser, however long it takes."""
        return self._execute(self.url(database, "postgres"), statement)

    def sql(self, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """Execute a statement as the shop does."""
        return self._execute(self.url(), statement, values)

    def _execute(self, url: str, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def prepare(self) -> None:
        """Make the shop that all cases begin with."""
        for name, value in SETTINGS.items():
            self.admin(f"ALTER SYSTEM SET {name} = '{value}'")
        node = self.lab.nodes["n1"]
        node.stop()
        node.start()
        self.make(TEMPLATE, self.users)

    def make(self, database: str, users: int) -> None:
        """Make a shop of so many users."""
        begun = time.monotonic()
        self.admin(f"CREATE DATABASE {database} OWNER shop")
        self._execute(self.url(database), TABLES.read_text().format(users=users, every=EVERY))
        self.admin("VACUUM (ANALYZE, FREEZE)", database)
        size = self.admin(f"SELECT pg_size_pretty(pg_database_size('{database}'))")[0][0]
        say(f"a shop of {users:,} users is made: {size}, {time.monotonic() - begun:.0f} s")

    def begin_again(self, template: str = TEMPLATE) -> None:
        """Let the shop be as it was made, and its pages be in memory."""
        self.admin(f"DROP DATABASE IF EXISTS {SHOP} WITH (FORCE)")
        self.admin(f"CREATE DATABASE {SHOP} OWNER shop TEMPLATE {template} STRATEGY file_copy")
        for table in ("users", "subscriptions", "payments", "ai_analysis_jobs"):
            self.sql(f"SELECT count(*) FROM {table}")
        self.admin("CHECKPOINT")

    def run(self, procedure: str, **policy: Any) -> Ran:
        """Run a procedure to its end; one that did not end as it should is an error, for its number means nothing."""
        ran = Ran(**run_apart(self.plane, procedure, TARGET, policy))
        if ran.outcome != ENDED_WELL[procedure]:
            raise RuntimeError(f"{procedure} ended {ran.outcome}: {ran.why}")
        run = runs.history(self.ledger)[0]
        ran.entered, ran.steps = run.started_at.timestamp(), steps.timeline(self.ledger, run.id)
        return ran

    def wrong(self) -> list[list[int]]:
        """List the payments and the users that are to be repaired."""
        gone = "SELECT id FROM payments p WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.user_id) ORDER BY id"
        step = f"SELECT id FROM users WHERE id % {EVERY} = {OUT_OF_STEP} ORDER BY id"
        return [[each for (each,) in self.sql(query)] for query in (gone, step)]

    @contextmanager
    def written(self, wrong: list[list[int]]) -> Iterator[Waits]:
        """Let the application write for the time of a block."""
        spec = {"conninfo": self.url(), "rate": RATE, "share": SHARE, "wrong": wrong}
        spec["whole"] = [5 * self.users, self.users]
        command = [sys.executable, "-m", "tests.lab.bench_consistency_writer"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True) as child:
            assert child.stdin
            assert child.stdout
            child.stdin.write(json.dumps(spec) + "\n")
            child.stdin.flush()
            child.stdout.readline()
            waits = Waits()
            try:
                time.sleep(2)
                yield waits
                time.sleep(1)
            finally:
                child.terminate()
                told = json.loads(child.stdout.readline() or '{"waits": [], "errors": ["it died"]}')
                waits.all = [seconds for _, seconds, _ in told["waits"]]
        if told["errors"]:
            raise RuntimeError(f"The application saw {len(told['errors'])} errors, e.g. {told['errors'][0]}")


@contextmanager
def stage(scale: float) -> Iterator[Stage]:
    """Bring everything up, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with (
            Plane(root, parts=("server",)) as plane,
            speaking_to(plane),
            Lab(nodes=1, sync=False, pooler=False, proxies=False) as lab,
        ):
            ledger = Ledger(url=SecretStr(f"sqlite:///{root}/ledger.db"))
            ledger.upgrade()
            ledger.save("ledger", overwrite=True)
            found = Stage(plane, lab, ledger, max(2 * EVERY, int(USERS * scale)))
            found.prepare()
            AppDatabase(url=SecretStr(found.url())).save(TARGET, overwrite=True)
            pack("bench").save(TARGET, overwrite=True)
            yield found
    finally:
        shutil.rmtree(root, ignore_errors=True)


def aside(action: Callable[[], Any]) -> threading.Thread:
    """Do something while the bench goes on."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def load() -> float:
    """Say how busy the machine is."""
    return os.getloadavg()[0]
