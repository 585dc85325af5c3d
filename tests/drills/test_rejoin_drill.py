"""An old primary, or a standby that fell off, comes back: by the cheapest right way, and nothing is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blocks.ledger.records import Run
from blocks.postgres import PostgresCluster
from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import acts, assert_rows_kept
from tests.lab.app import App
from tests.lab.node import LabNode
from tests.lab.processes import wait_until

pytestmark = pytest.mark.drill
ALONE = 25


def failed_over(ward: Ward, policy: dict[str, object] | None = None) -> str:
    """Kill n1 and let a standby take over; return which."""
    ward.lab.kill_node("n1")
    run = ward.run("postgres-failover", policy)
    assert run.outcome == Outcome.RECOVERED, run.why
    return ward.lab.primary()


def found(run: Run, name: str) -> str:
    """Return what a step of a run did, in its own words."""
    return next(step["found"] for step in run.report["timeline"] if step["name"] == name)


def assert_follows(ward: Ward, name: str, primary: str) -> None:
    """NAME streams from PRIMARY, WAL is kept for it, and commits wait for it where they wait for anybody."""
    lab = ward.lab
    assert lab.primaries() == [primary]
    assert name in lab.streaming(primary)
    assert (name,) in lab.psql(primary, "SELECT slot_name FROM pg_replication_slots WHERE active")
    if lab.sync:
        assert name in lab.psql(primary, "SHOW synchronous_standby_names")[0][0]
    count = "SELECT count(*) FROM charges"
    wait_until(lambda: lab.psql(name, count, "orders") == lab.psql(primary, count, "orders"), 10, "the same rows")


def kept(node: LabNode, pattern: str) -> list[Path]:
    """Return what was put aside beside a data directory."""
    return sorted(node.disk.glob(f"data.{pattern}"))


def test_what_a_rewind_discards_is_listed_and_kept(async_ward: Ward) -> None:
    """Commits that only the old primary holds are counted right, and their WAL is kept, before it is rewound."""
    lab, n1 = async_ward.lab, async_ward.lab.nodes["n1"]
    lab.psql("n1", "ALTER SYSTEM SET autovacuum = off")
    lab.psql("n1", "SELECT pg_reload_conf()")
    for standby in ("n2", "n3"):
        lab.lag(standby, "stop")
    wait_until(lambda: not lab.streaming("n1"), 10, "the standbys to leave")
    for number in range(ALONE):
        lab.psql("n1", f"INSERT INTO charges (client, seq, cents) VALUES ('alone', {number}, 1)", "orders")
    async_ward.record()
    primary = failed_over(async_ward)
    run = async_ward.run("postgres-rejoin")
    assert run.outcome == Outcome.RECOVERED, run.why
    assert "brought back by: rewind" in run.why
    told = re.fullmatch(r"(\d+) commits after (\S+) exist only on n1; .* in (\S+)", found(run, "keep-discarded"))
    assert told
    assert int(told[1]) == ALONE
    place = Path(told[3])
    assert place in kept(n1, "discarded-*")
    assert (place / "commits.txt").read_text().count("COMMIT") == ALONE
    assert [file for file in place.iterdir() if len(file.name) == 24], "the WAL itself"
    assert_follows(async_ward, "n1", primary)
    assert lab.psql("n1", "SELECT count(*) FROM charges WHERE client = 'alone'", "orders") == [(0,)]


def test_old_primary_comes_back_and_again_is_nothing_to_do(ward: Ward) -> None:
    """After a failover the old primary is rewound while the shop writes, commits wait for it again, and that is all."""
    with App(ward.lab) as app:
        app.await_writes(50)
        primary = failed_over(ward)
        run = ward.run("postgres-rejoin")
        again = ward.run("postgres-rejoin")
        app.await_writes(50)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert_follows(ward, "n1", primary)
    assert_rows_kept(app)
    assert (again.outcome, acts(again)) == (Outcome.NOTHING_TO_DO, [])
    assert again.why == f"Every node follows {primary}."


def test_impossible_rewind_is_followed_by_a_copy(ward: Ward) -> None:
    """An old primary without its WAL cannot be rewound: the new one is copied, and the old directory is kept."""
    lab, n1 = ward.lab, ward.lab.nodes["n1"]
    primary = failed_over(ward)
    lab.remove_wal("n1")
    forbidden = ward.run("postgres-rejoin", {"allow_clone": False})
    assert forbidden.outcome != Outcome.RECOVERED
    assert "run again with `allow_clone`" in forbidden.why
    run = ward.run("postgres-rejoin")
    assert run.outcome == Outcome.RECOVERED, run.why
    assert "a rewind was impossible" in found(run, "bring-back")
    assert_follows(ward, "n1", primary)
    (old,) = kept(n1, "old-*")
    assert (old / "PG_VERSION").exists()
    assert not kept(n1, "salvor-*"), "nothing half-done is left"


@pytest.mark.long
@pytest.mark.parametrize("rewindable", [True, False], ids=["rewind", "copy"])
def test_full_disk_stops_it_until_there_is_room(ward: Ward, rewindable: bool) -> None:
    """With a full disk it says how much is missing, the node cannot start as a primary, and run again it goes on."""
    lab, n1 = ward.lab, ward.lab.nodes["n1"]
    primary = failed_over(ward)
    if not rewindable:
        lab.remove_wal("n1")
    how = lab.fill_disk("n1")
    stopped = ward.run("postgres-rejoin", {"stream_seconds": 5})
    assert stopped.outcome == Outcome.NEEDS_HUMAN
    if how == "tmpfs":
        assert re.search(r"needs \d+ MB and (n1 has )?\d+ MB (are )?free", stopped.why), stopped.why
        assert "make room, then run this again" in stopped.why
    assert (n1.data / "standby.signal").exists()
    assert lab.primaries() == [primary]
    lab.free_disk("n1")
    run = ward.run("postgres-rejoin")
    assert run.outcome == Outcome.RECOVERED, run.why
    assert_follows(ward, "n1", primary)


def test_destroyed_directory_is_copied(ward: Ward) -> None:
    """A node without a data directory gets a copy of the primary, and is started by its own init system."""
    *others, n3 = PostgresCluster.load(ward.target).nodes
    node = ward.lab.nodes["n3"]
    # The primary's configuration came with the copy; the lab's nodes share one machine, so the port must not.
    start = f"{node.bin}/pg_ctl start -D {node.data} -l {node.log} -w -o '-p {node.server_port}'"
    ward.change_block(nodes=[*others, n3.model_copy(update={"start_command": start})])
    ward.lab.destroy("n3")
    run = ward.run("postgres-rejoin")
    assert run.outcome == Outcome.RECOVERED, run.why
    assert "brought back by: clone" in run.why
    assert_follows(ward, "n3", "n1")


def test_stopped_standby_is_started(ward: Ward) -> None:
    """A standby that merely stopped is started, and its files are left alone."""
    ward.lab.nodes["n3"].stop()
    run = ward.run("postgres-rejoin", {"node": "n3"})
    assert run.outcome == Outcome.RECOVERED, run.why
    assert "brought back by: start" in run.why
    assert found(run, "bring-back") == "the files of n3 are right as they are"
    assert_follows(ward, "n3", "n1")


def test_diverged_standby_is_copied(ward: Ward) -> None:
    """A standby that wrote rows of its own, on the primary's own timeline, is copied anew; what it wrote is kept."""
    lab = ward.lab
    with App(lab) as app:
        lab.diverge("n3")
        app.await_writes(200)
        wait_until(lambda: "n3" not in lab.streaming("n1"), 10, "the primary to pass it")
        first = ward.run("postgres-rejoin", {"node": "n3", "stream_seconds": 2})
        run = first if first.outcome == Outcome.RECOVERED else ward.run("postgres-rejoin", {"node": "n3"})
        app.await_writes(50)
    assert run.outcome == Outcome.RECOVERED, (first.why, run.why)
    assert_follows(ward, "n3", "n1")
    assert kept(lab.nodes["n3"], "old-*")
    assert lab.psql("n3", "SELECT count(*) FROM orders WHERE client = 'diverged'", "orders") == [(0,)]
    assert_rows_kept(app)
