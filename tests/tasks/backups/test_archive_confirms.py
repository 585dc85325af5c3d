"""The archive as a standby that confirms commits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.conninfo import conninfo_to_dict

from blocks.native_backup import SLOT
from tasks.backups.reach import ARCHIVE, SQL, Reach, quoted
from tasks.waiting import until
from tests.lab import blocks as lab_blocks
from tests.lab.cluster import Lab

pytestmark = pytest.mark.long

SECONDS = 20.0
WAITS = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give one primary."""
    with Lab(nodes=1, sync=False, pooler=False, proxies=False, fast=True) as it:
        yield it


@pytest.fixture
def at(lab: Lab) -> Reach:
    """Give what a procedure can touch."""
    return Reach("orders", lab_blocks.cluster(lab), lab_blocks.repository(lab))


def test_the_stream_has_a_name_that_no_backup_has(at: Reach) -> None:
    """What synchronous_standby_names demands is not what pg_basebackup calls itself: it would confirm in a second."""
    stream, backup = (conninfo_to_dict(each)["application_name"] for each in (at.sources(), at.source("n1")))
    assert stream == ARCHIVE != backup


def test_a_commit_waits_for_the_archive(lab: Lab, at: Reach) -> None:
    """With the archive in synchronous_standby_names a commit waits for it, whatever a backup receives meanwhile."""
    (system,) = lab.psql("n1", "SELECT system_identifier::text FROM pg_control_system()")[0]
    at.sql("n1", SQL["slot"].replace("%(slot)s", quoted(SLOT)))
    at.repository.stream(at.sources(), system)
    assert until(lambda: bool(at.ask("n1", SQL["streaming"].replace("%(slot)s", quoted(SLOT)))), SECONDS)
    lab.psql("n1", f"ALTER SYSTEM SET synchronous_standby_names = '{ARCHIVE}'")
    lab.psql("n1", "SELECT pg_reload_conf()")
    lab.psql("n1", "CREATE TABLE confirmed (id int)")
    receiver = int((lab.vault / "repository" / "wal" / "receiver").read_text())
    os.kill(receiver, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        try:
            commit = pool.submit(lab.nodes["n1"].psql, "INSERT INTO confirmed VALUES (1)", seconds=SECONDS)
            assert until(lambda: bool(lab.psql("n1", WAITS)), SECONDS)
            at.repository.take("20260101T000000Z-full", at.source("n1"), system, SECONDS)
            assert lab.psql("n1", WAITS)
        finally:
            os.kill(receiver, signal.SIGCONT)
    commit.result()
    assert not lab.psql("n1", WAITS)
