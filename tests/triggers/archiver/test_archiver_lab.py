"""The archiver against a real primary and a real receiver: what dies is started again, and what is in use is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from blocks.backup_records import BackupSet
from blocks.ledger import outbox, positions
from blocks.ledger.block import Ledger
from blocks.ledger.schema import leases
from flows.triggers.archiver.announce import Announcer
from flows.triggers.archiver.decide import Pace
from flows.triggers.archiver.keeper import Keeper
from flows.triggers.archiver.roster import Charge, Roster
from tasks.backups.reach import Reach
from tasks.waiting import until
from tests.lab import blocks as lab_blocks
from tests.lab.cluster import Lab

pytestmark = [pytest.mark.drill, pytest.mark.long]
SECONDS = 30.0
PACE = Pace(interval_seconds=0.1, haste_seconds=0.1, grace_seconds=0.5, late_seconds=1.0, pause_seconds=0.1)
WRITE = "SELECT pg_logical_emit_message(false, 'salvor', repeat('x', 1000000))"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give one primary."""
    with Lab(nodes=1, sync=False, pooler=False, proxies=False, fast=True) as it:
        yield it


@pytest.fixture
def at(lab: Lab) -> Reach:
    """Give what an archiver can touch."""
    return at_of(lab)


def at_of(lab: Lab) -> Reach:
    return Reach("orders", lab_blocks.cluster(lab), lab_blocks.repository(lab))


class Archiver:
    """An archiver whose looks are taken one by one."""

    def __init__(self, at: Reach, ledger: Ledger) -> None:
        self.keeper = Keeper(at, ledger, PACE)
        self.announcer = Announcer(ledger, "orders", at.block, drills=False)

    def until(self, true: Callable[[], object]) -> None:
        """Look until it is TRUE."""
        end = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < end, self.keeper.course
            self.look()

    def look(self) -> None:
        time.sleep(self.keeper.turn())
        self.announcer.streams(self.keeper)

    def streams(self) -> None:
        """Look until WAL arrives."""
        self.look()
        self.until(lambda: self.keeper.course.streams and not self.keeper.course.tries)


@pytest.fixture
def archiver(at: Reach, ledger: Ledger) -> Archiver:
    """Give an archiver whose stream goes well."""
    it = Archiver(at, ledger)
    it.streams()
    return it


def receivers(at: Reach) -> tuple[int, ...]:
    return at.repository.inlet().receivers


def end(at: Reach) -> int:
    """Kill the receiver, as the kernel does when memory is short."""
    (pid,) = receivers(at)
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not receivers(at), SECONDS)
    return pid


def told(ledger: Ledger, name: str) -> list[str]:
    keys = [parcel.key for parcel in outbox.undelivered(ledger)]
    return [key.removeprefix(f"trouble/orders/{name}/") for key in keys if key.startswith(f"trouble/orders/{name}/")]


def test_a_receiver_that_dies_is_started_again(lab: Lab, at: Reach, archiver: Archiver, ledger: Ledger) -> None:
    """It goes on in the folder there is, what was written meanwhile arrives, and the ledger says until when all has."""
    folders = sorted((lab.vault / "repository/wal").glob("*Z"))
    end(at)
    lab.psql("n1", WRITE)
    written = datetime.now(UTC)
    archiver.streams()
    archiver.until(lambda: archiver.keeper.course.covered_at > written)
    assert sorted((lab.vault / "repository/wal").glob("*Z")) == folders
    last = positions.last(ledger, "recovery.archive.orders")
    assert last is not None
    assert last.at > written


def test_two_archivers_do_not_end_each_others(at: Reach, archiver: Archiver, ledger: Ledger) -> None:
    """Both see the same death and mend it; one process streams, and neither has to try twice."""
    both = [archiver, Archiver(at, ledger)]
    end(at)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Archiver.streams, both))
    (now,) = receivers(at)
    for each in both:
        each.look()
    assert receivers(at) == (now,)


def test_a_receiver_that_streams_elsewhere_is_ended(at: Reach, archiver: Archiver) -> None:
    """It lives, so nobody would start another; but its connection is not to this primary."""
    (stopped,) = receivers(at)
    os.kill(stopped, signal.SIGSTOP)
    at.sql("n1", "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
    archiver.until(lambda: not archiver.keeper.course.streams)
    archiver.streams()
    assert stopped not in receivers(at)


def test_while_a_run_restores_it_only_looks(at: Reach, archiver: Archiver, ledger: Ledger) -> None:
    """A lease on the cluster, or a frozen repository: nothing is started until that has ended."""
    end(at)
    values = {"run_id": "r1", "procedure": "backup-restore", "expires_at": datetime.now(UTC) + timedelta(seconds=90)}
    with ledger.begin() as connection:
        connection.execute(leases.insert().values(resource="recovery.postgres.orders", token=1, **values))
    at.repository.freeze("backup-restore of orders")
    for expected in ("a run has the cluster", "the repository is frozen (backup-restore of orders)"):
        archiver.until(lambda expected=expected: archiver.keeper.course.why.startswith(expected))
        for _ in range(3):
            archiver.look()
        assert not receivers(at)
        with ledger.begin() as connection:
            connection.execute(leases.delete())
    at.repository.thaw()
    archiver.streams()


def test_wal_that_is_late_is_told_once_and_its_end_too(lab: Lab, at: Reach, ledger: Ledger) -> None:
    """Two archivers see it, one page goes out; one of them is started anew meanwhile, and tells the end once."""
    both = [Archiver(at, ledger), Archiver(at, ledger)]
    both[0].streams()
    at.repository.freeze("a run that died")
    end(at)
    for each in both:
        lab.psql("n1", WRITE)
        each.until(lambda: told(ledger, "late"))
        each.look()
    (parcel,) = [each for each in outbox.undelivered(ledger) if each.key == "trouble/orders/late/1"]
    assert "the repository is frozen (a run that died)" in parcel.payload["body"]
    at.repository.thaw()
    for each in (Archiver(at, ledger), both[1]):
        each.until(lambda: "1/over" in told(ledger, "late"))
        each.look()
    assert told(ledger, "late") == ["1", "1/over"]


def test_a_slot_that_was_given_up_leaves_a_hole_that_is_told(lab: Lab, at: Reach, ledger: Ledger) -> None:
    """PostgreSQL's own bound is the last word; the stream begins anew, and what lies before it says what is missing."""
    archiver = Archiver(at, ledger)
    archiver.streams()
    keep_a_set(at)
    give_up(lab, "ALTER SYSTEM SET wal_keep_size = 0", "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    end(at)
    for _ in range(3):
        lab.psql("n1", WRITE)
        lab.psql("n1", "SELECT pg_switch_wal()")
    lost = "SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'"
    assert until(lambda: lab.psql("n1", "CHECKPOINT") == [] and bool(lab.psql("n1", lost)), SECONDS)
    give_up(lab, "ALTER SYSTEM RESET wal_keep_size", "ALTER SYSTEM RESET max_slot_wal_keep_size")
    archiver.streams()
    archiver.until(lambda: told(ledger, "hole"))
    keep_a_set(at)
    archiver.keeper.surveyed_at = None
    archiver.until(lambda: told(ledger, "hole") == ["1", "1/over"])


def give_up(lab: Lab, *settings: str) -> None:
    """Say how much WAL a slot may keep."""
    for statement in (*settings, "SELECT pg_reload_conf()"):
        lab.psql("n1", statement)


def keep_a_set(at: Reach) -> None:
    """Keep a good set."""
    (system,) = at.sql("n1", "SELECT system_identifier::text AS it FROM pg_control_system()")[0].values()
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S%fZ}-full"
    made = at.repository.take(name, at.source("n1"), system, 60)
    facts = made.model_dump() | {"restored_bytes": made.bytes}
    kept = BackupSet(id=name, kind="full", began_at=now, ended_at=now, **facts)
    at.repository.commit(kept)
    assert at.repository.verify(kept) == ""


def test_a_block_that_is_saved_later_is_kept_as_well(at: Reach, ledger: Ledger) -> None:
    """The roster begins and ends with the blocks; what streams outlives whoever has started it."""
    at.repository.unstream()
    assert until(lambda: not receivers(at), SECONDS)
    roster = Roster(ledger, PACE)
    roster.follow({})
    roster.follow({"orders": Charge(at, drills=False)})
    assert until(lambda: bool(receivers(at)), SECONDS)
    roster.leave()
    assert receivers(at)
