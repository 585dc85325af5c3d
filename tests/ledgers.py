"""Ledgers to test with: a SQLite file, and a database on a real PostgreSQL that lives as long as the session."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from pydantic import SecretStr
from sqlalchemy import update

from blocks.ledger import gate, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Claimed, Intent, NewRun, Run, StepRecord
from blocks.ledger.schema import leases
from blocks.ledger.schema import runs as run_table
from tests.blocks.servers import account, bin_directory, dropping, free_port, run

RESOURCE = "recovery.fake.orders"
SETTINGS = (
    "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\n"
    "max_connections = 60\nautovacuum = off\nlogging_collector = off\n"
)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run PostgreSQL as an unprivileged user; yield a URL without a database name."""
    root = Path(tempfile.mkdtemp(prefix="salvor-ledger-"))
    shutil.chown(root, account().pw_uid, account().pw_gid)
    data, port = root / "data", free_port()
    run(bin_directory() / "initdb", "-D", data, "-U", "salvor", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")
    with (data / "postgresql.conf").open("a") as file:
        file.write(f"{SETTINGS}port = {port}\n")
    log = (root / "log").open("w")
    server = subprocess.Popen(
        [str(bin_directory() / "postgres"), "-D", str(data)], stdout=log, stderr=log, cwd="/", **dropping()
    )
    try:
        _await_answer(port)
        yield f"postgresql://salvor@127.0.0.1:{port}/"
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()
        shutil.rmtree(root, ignore_errors=True)


def _await_answer(port: int) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=salvor dbname=postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return


def sql(server_url: str, statement: str) -> None:
    with psycopg.connect(f"{server_url}postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


@contextmanager
def postgres_ledger(server_url: str, lease_seconds: float = 15) -> Iterator[Ledger]:
    """Make a fresh database with the ledger's tables; the first one becomes the template of the others."""
    name = f"t{uuid4().hex[:12]}"
    try:
        sql(server_url, f"CREATE DATABASE {name} TEMPLATE salvor_template")
    except psycopg.errors.InvalidCatalogName:
        sql(server_url, "CREATE DATABASE salvor_template")
        template = Ledger(url=SecretStr(f"{server_url}salvor_template"))
        template.upgrade()
        template.engine.dispose()
        sql(server_url, f"CREATE DATABASE {name} TEMPLATE salvor_template")
    ledger = Ledger(url=SecretStr(f"{server_url}{name}"), lease_seconds=lease_seconds)
    try:
        yield ledger
    finally:
        ledger.engine.dispose()
        sql(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def sqlite_ledger(directory: Path, lease_seconds: float = 15) -> Ledger:
    ledger = Ledger(url=SecretStr(f"sqlite:///{directory}/ledger.db"), lease_seconds=lease_seconds)
    ledger.upgrade()
    return ledger


def new_run(ledger: Ledger, procedure: str = "fake-failover", **changes: Any) -> Run:
    facts = {"flow_run_id": str(uuid4()), "procedure": procedure, "target": "orders", "deployment_id": "d1"}
    return runs.register(ledger, NewRun(**facts | changes))


def intent(key: str = "k1", **changes: Any) -> Intent:
    return Intent(**{"resource": RESOURCE, "key": key, "plan": {"key": key}, "digest": f"digest-{key}"} | changes)


def claimed(ledger: Ledger, key: str = "k1", **changes: Any) -> tuple[Run, Claimed]:
    it = new_run(ledger, **changes)
    return it, gate.claim(ledger, it.id, intent(key, min_interval_seconds=0))


def step(run_id: str, name: str = "fence", **changes: Any) -> StepRecord:
    at = datetime.now(UTC)
    facts = {"id": str(uuid4()), "run_id": run_id, "name": name, "sentence": f"{name} n1", "started_at": at}
    rest = {"ended_at": None, "found": "", "error": "", "dry": False, "undo": False}
    return StepRecord(**facts | rest | changes)


def silence(ledger: Ledger, run_id: str) -> None:
    """Let the run look as if its process had died long ago."""
    past = datetime.now(UTC) - timedelta(hours=1)
    with ledger.begin() as connection:
        connection.execute(update(run_table).where(run_table.c.id == run_id).values(heartbeat_until=past))
        connection.execute(update(leases).where(leases.c.run_id == run_id).values(expires_at=past))


def lease(ledger: Ledger, resource: str = RESOURCE) -> Any:
    with ledger.read() as connection:
        return connection.execute(leases.select().where(leases.c.resource == resource)).one()
