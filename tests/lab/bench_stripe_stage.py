"""Where the Stripe bench plays: a Prefect server, a ledger, a durable PostgreSQL, and the fake Stripe, each a process.

A run is the real flow function in a process of its own. It is not started through a deployment, so that the process
whose memory is measured has nothing else in it; how fast a run starts is `make bench-failover`'s.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.ledger import runs, steps
from blocks.ledger.block import Ledger
from blocks.stripe_account import StripeAccount
from flows.triggers.plane.plane import Plane
from tests.drills.ward import speaking_to
from tests.lab.bench_apart import run_apart
from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD
from tests.lab.stripe import FakeStripe

TABLES = Path(__file__).with_name("shop_stripe.sql")
UNLIMITED = {"requests_per_second": 1_000_000, "endpoint_requests_per_second": 1_000_000, "rate_share": 1}
#: What Stripe documents for an account in live mode; the rest is the default of a user's block.
DOCUMENTED = {"requests_per_second": 100}
ENDPOINT_RATE, ACCOUNT_RATE = 25, 100
REPAIR_ACTS = ("repair-rows", "replay-events")


@dataclass
class Ran:
    """One run, and what Stripe saw of it."""

    outcome: str
    why: str
    begun: float
    ended: float
    cpu_seconds: float
    peak_mb: float
    imports_mb: float
    requests: list[dict[str, Any]] = field(default_factory=list)
    acted: tuple[float, float] = (0.0, 0.0)  #: when the act began and ended

    @property
    def seconds(self) -> float:
        """From the call until the outcome, which is after everything was looked at again."""
        return self.ended - self.begun

    @property
    def repaired_seconds(self) -> float:
        """From the call until every row is repaired."""
        return self.acted[1] - self.begun

    @property
    def refused(self) -> int:
        """How many requests were one too many."""
        return sum(each["status"] == 429 for each in self.requests)

    def of(self, path: str) -> list[dict[str, Any]]:
        """Return the requests to PATH and what is below it."""
        return [each for each in self.requests if each["path"].startswith(path)]

    def phases(self, path: str) -> dict[str, float]:
        """Say how long each part took, as the outside saw it: the requests to PATH are the list."""
        first, last = self.of(path)[0], max(each["at"] + each["seconds"] for each in self.of(path))
        begun, done = self.acted
        return {
            "start": first["at"] - self.begun,
            "list": last - first["at"],
            "compare": begun - last,
            "repair": done - begun,
            "judge": self.ended - done,
        }


@dataclass
class Stage:
    """Everything that a scene needs."""

    plane: Plane
    fake: FakeStripe
    lab: Lab
    ledger: Ledger

    @property
    def url(self) -> str:
        """The shop's database."""
        return f"postgresql://salvor:{PASSWORD}@127.0.0.1:{self.lab.nodes['n1'].port}/shop"

    @property
    def database(self) -> AppDatabase:
        """Its block."""
        return AppDatabase(url=SecretStr(self.url))

    @property
    def folder(self) -> Path:
        """Where the runs keep what they listed."""
        return Path(self.plane.env["PREFECT_HOME"]) / "salvor" / "stripe" / "shop"

    def sql(self, statement: str, values: Sequence[object] | None = None) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute a statement in the shop's database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode(), values)

    def begin_again(self, **seed: Any) -> None:
        """Let the shop's tables be empty, nothing be remembered of earlier runs, and Stripe be seeded anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.fake.reset()
        self.fake.clear_faults()
        self.fake.seed(**seed)
        with suppress(psycopg.errors.DuplicateDatabase):
            self.lab.nodes["n1"].psql("CREATE DATABASE shop")
        self.sql("DROP SCHEMA IF EXISTS salvor CASCADE")
        self.sql("DROP SCHEMA public CASCADE")
        self.sql("CREATE SCHEMA public")
        self.sql(TABLES.read_text())

    def account(self, **limits: Any) -> StripeAccount:
        """Save the block of the account with these limits."""
        key = SecretStr(self.fake.key)
        fixed = {"account": self.fake.account, "livemode": False, "database": "shop-db", "api_base": self.fake.url}
        block = StripeAccount(secret_key=key, **fixed, **limits)
        block.save("shop", overwrite=True)
        return block

    def run(self, procedure: str, **policy: Any) -> Ran:
        """Run a procedure to its end; one that did not end well is an error, for its number would mean nothing."""
        seen = self.fake.control("count")
        ran = Ran(**run_apart(self.plane, procedure, "shop", policy), requests=self.fake.requests(seen))
        if ran.outcome != "Recovered":
            raise RuntimeError(f"{procedure} ended {ran.outcome}: {ran.why}")
        for step in steps.timeline(self.ledger, runs.history(self.ledger)[0].id):
            if step.name in REPAIR_ACTS and step.ended_at:
                ran.acted = (step.started_at.timestamp(), step.ended_at.timestamp())
        return ran


@contextmanager
def stage() -> Iterator[Stage]:
    """Bring everything up, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="bench-"))
    os.environ["TMPDIR"] = str(root)  # the file of the rate limiter
    try:
        with (
            Plane(root, parts=("server",)) as plane,
            speaking_to(plane),
            Lab(nodes=1, sync=False, pooler=False, proxies=False) as lab,
            FakeStripe() as fake,
        ):
            ledger = Ledger(url=SecretStr(f"sqlite:///{root}/ledger.db"))
            ledger.upgrade()
            ledger.save("ledger", overwrite=True)
            found = Stage(plane, fake, lab, ledger)
            found.database.save("shop-db", overwrite=True)
            yield found
    finally:
        shutil.rmtree(root, ignore_errors=True)
