"""A primary is lost and another promoted: the archive follows without a person, and the next disaster loses nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.ledger import positions
from blocks.ledger.block import Ledger
from flows.backup_take import backup_take
from flows.disaster_recover import disaster_recover
from flows.postgres_failover import postgres_failover
from flows.triggers.archiver.decide import Pace
from flows.triggers.archiver.roster import Roster, charges
from tasks.backups.choose import along, path_to
from tests.flows.orders import cluster
from tests.lab.cluster import Lab
from tests.lab.processes import wait_until
from tests.lab.records import record
from tests.triggers.archiver.test_archiver_lab import WRITE, Archiver, at_of

pytestmark = [pytest.mark.drill, pytest.mark.long]
PACE = Pace(interval_seconds=0.2, haste_seconds=0.2)
SECONDS = 30.0


@pytest.fixture
def orders(prefect_server: None, book: Ledger) -> Iterator[Lab]:
    """Give a real cluster that the flows know as `orders`, and an archiver that is at work."""
    book.save("ledger", overwrite=True)
    with cluster(book) as lab:
        roster = Roster(book, PACE)
        roster.follow(charges(["orders"], {}))
        try:
            yield lab
        finally:
            roster.leave()


def add(lab: Lab, node: str, client: str) -> int:
    """Let a client place orders; give the position at which they were acknowledged."""
    lab.psql(node, f"INSERT INTO orders SELECT '{client}', g, 1 FROM generate_series(1, 100) g", "orders")
    ((lsn,),) = lab.psql(node, "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")
    return int(lsn)


def await_arrival(book: Ledger, timeline: int, lsn: int) -> None:
    """Wait until the ledger says that the archive has LSN."""

    def arrived() -> bool:
        last = positions.last(book, "recovery.archive.orders")
        return last is not None and last.timeline == timeline and last.lsn >= lsn

    wait_until(arrived, SECONDS, f"the archive to have {lsn} of timeline {timeline}")


def test_a_disaster_right_after_a_failover_loses_nothing(orders: Lab, book: Ledger) -> None:
    """What the new primary acknowledged is in the archive, which nobody but the archiver has led there."""
    assert backup_take("orders", return_state=True).name == "Recovered"
    add(orders, "n1", "before")
    orders.kill_node("n1")
    state = postgres_failover("orders", requested_by="a person", return_state=True)
    assert state.name == "Recovered", state.message
    promoted = orders.primary()
    began = time.monotonic()
    await_arrival(book, 2, add(orders, promoted, "after the failover"))
    print(f"the archive follows {time.monotonic() - began:.1f} s after the failover")  # noqa: T201 - for the report
    await_arrival(book, 2, add(orders, promoted, "right before the disaster"))
    record(book, "recovery.postgres.orders", orders, promoted)
    for node in orders.nodes:
        orders.destroy(node)
    state = disaster_recover("orders", {"deep": False}, requested_by="a person", return_state=True)
    assert state.name == "Recovered", state.message
    found = orders.psql(orders.primary(), "SELECT client, count(*) FROM orders GROUP BY 1 ORDER BY 1", "orders")
    assert found == [("after the failover", 100), ("before", 100), ("right before the disaster", 100)]


def test_an_archive_that_is_ahead_of_the_fork_begins_anew_without_a_hole(ledger: Ledger) -> None:
    """The archive has WAL that the promoted standby never saw; the stream starts where the standby kept it."""
    with Lab(nodes=2, sync=False, pooler=False, proxies=False, fast=True) as lab:
        at = at_of(lab)
        archiver = Archiver(at, ledger)
        archiver.until(lambda: lab.psql("n2", "SELECT 1 FROM pg_replication_slots"))
        lab.psql("n2", "ALTER SYSTEM SET primary_conninfo = ''")
        lab.psql("n2", "SELECT pg_reload_conf()")
        wait_until(lambda: "n2" not in lab.streaming("n1"), SECONDS, "n2 to hear no more")
        for statement in (WRITE, "SELECT pg_switch_wal()", WRITE, "SELECT pg_switch_wal()", WRITE):
            lab.psql("n1", statement)
        archiver.until(lambda: archiver.keeper.course.flushed > 3 * at.repository.segment_bytes)
        lab.kill_node("n1")
        lab.psql("n2", "SELECT pg_promote()")
        began = time.monotonic()
        archiver.until(lambda: archiver.keeper.course.streams and archiver.keeper.course.timeline == 2)
        print(f"a new folder {time.monotonic() - began:.1f} s after the promotion")  # noqa: T201 - for the report
        assert len(folders(lab)) == 2
        archive = at.repository.look().archive
        assert along(archive, path_to(archive, 2)).holes == ()
        assert {each.timeline for each in archive.files} == {1, 2}


def folders(lab: Lab) -> list[Path]:
    return sorted((lab.vault / "repository/wal").glob("*Z"))
