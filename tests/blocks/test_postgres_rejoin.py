"""Bringing a server back behind another one: copied or rewound, and never a second primary on the way."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks.postgres_node import ScriptFailed
from blocks.postgres_session import ask_all
from tests.blocks.servers import PASSWORD, Server


@contextmanager
def standby(primary: Server, name: str = "n2"):
    """Copy PRIMARY and start the copy behind it."""
    it = Server(primary.data.parent, name)
    try:
        it.node.basebackup(primary.cluster.copy_conninfo(primary.node.name), str(it.data), 60)
        follow(it, primary)
        it.node.start(as_standby=True)
        yield it
    finally:
        it.destroy()


def follow(server: Server, upstream: Server) -> None:
    conninfo = upstream.cluster.replication_conninfo(upstream.node.name, server.node.name)
    server.node.write_settings({"port": str(server.node.port), "primary_conninfo": conninfo})


def promote(server: Server) -> None:
    server.sql("ALTER SYSTEM SET primary_conninfo = ''")
    server.sql("SELECT pg_reload_conf()")
    server.sql("SELECT pg_promote(true, 30)")
    server.sql("CHECKPOINT")


def eventually(server: Server, sql: str, wanted: object) -> None:
    seen: object = None
    for _ in range(200):
        answer = ask_all({"it": (server.conninfo, sql)}, 2)["it"]
        seen = next(iter(answer.rows[0].values())) if answer.rows else answer.problem
        if seen == wanted:
            return
        time.sleep(0.05)
    pytest.fail(f"{sql} gave {seen}, not {wanted}")


def part(old: Server, new: Server) -> None:
    """Promote NEW while OLD goes on writing, then kill OLD."""
    promote(new)
    old.sql("INSERT INTO t SELECT generate_series(1, 1000)")
    old.sql("SELECT pg_switch_wal()")
    old.sql("INSERT INTO t SELECT generate_series(1, 1000)")
    new.sql("INSERT INTO t VALUES (42)")
    new.sql("CHECKPOINT")
    old.node.stop("kill", as_standby=True)


def test_a_copy_follows_its_primary_and_starts_as_nothing_else(own_db):
    """The copy has its standby.signal before anybody could start it."""
    with standby(own_db) as copy:
        eventually(own_db, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'", "n2")
        assert copy.sql("SELECT pg_is_in_recovery()") == [(True,)]


def test_a_copy_never_overwrites_a_directory(own_db, root):
    """A directory that holds something is somebody's data."""
    (root / "full").mkdir()
    (root / "full" / "something").touch()
    with pytest.raises(ScriptFailed, match="not empty"):
        own_db.node.basebackup(own_db.cluster.copy_conninfo("n1"), str(root / "full"), 10)
    assert [p.name for p in (root / "full").iterdir()] == ["something"]


def test_a_copy_that_fails_says_why_without_the_password(own_db, root):
    """The tool's last words are in the sentence."""
    wrong = own_db.cluster.copy_conninfo("n1").replace(PASSWORD, "wrong-Secret")
    with pytest.raises(ScriptFailed, match="password authentication failed") as caught:
        own_db.node.basebackup(wrong, str(root / "copy"), 10)
    assert "wrong-Secret" not in str(caught.value)


def test_a_killed_primary_is_rewound_and_keeps_its_own_configuration(own_db):
    """Rows of the lost timeline are gone, port and settings are its own, and it starts as a standby only."""
    own_db.sql("CREATE TABLE t (a int)")
    with standby(own_db) as new:
        part(own_db, new)
        own = (own_db.data / "postgresql.conf").read_text() + "# of n1 alone\n"
        (own_db.data / "postgresql.conf").write_text(own)
        done = own_db.node.rewind(new.cluster.copy_conninfo("n2"), 60)
        assert done.rc == 0, done.err
        assert own_db.node.has_standby_signal()
        assert (own_db.data / "postgresql.conf").read_text() == own
        follow(own_db, new)
        own_db.node.start(as_standby=True)
        eventually(new, "SELECT state FROM pg_stat_replication WHERE application_name = 'n1'", "streaming")
        eventually(own_db, "SELECT count(*) FROM t", 1)
    assert not Path(f"{own_db.data}.salvor-conf").exists()


def test_crash_recovery_keeps_the_wal_that_the_rewind_needs(own_db):
    """pg_rewind's own recovery would recycle it at its last checkpoint and make the rewind impossible."""
    own_db.sql("CREATE TABLE t (a int)")
    own_db.sql("ALTER SYSTEM SET wal_keep_size = 0")
    own_db.sql("ALTER SYSTEM SET min_wal_size = '32MB'")
    own_db.sql("ALTER SYSTEM SET max_wal_size = '1GB'")
    own_db.sql("SELECT pg_reload_conf()")
    with standby(own_db) as new:
        own_db.sql("CHECKPOINT")
        promote(new)
        for _ in range(5):
            own_db.sql("INSERT INTO t SELECT generate_series(1, 1000)")
            own_db.sql("SELECT pg_switch_wal()")
        own_db.node.stop("kill", as_standby=True)
        done = own_db.node.rewind(new.cluster.copy_conninfo("n2"), 60)
        assert done.rc == 0, done.err


def test_a_rewind_that_is_impossible_leaves_a_directory_that_starts_as_no_primary(own_db):
    """A failed rewind is a normal branch: the caller reads the result, and the signal and the configuration stay."""
    own_db.sql("CREATE TABLE t (a int)")
    with standby(own_db) as new:
        part(own_db, new)
        conf = (own_db.data / "postgresql.conf").read_text()
        for segment in sorted((own_db.data / "pg_wal").glob("00000001*"))[:-1]:
            segment.unlink()
        done = own_db.node.rewind(new.cluster.copy_conninfo("n2"), 60)
    assert done.rc != 0
    assert own_db.node.has_standby_signal()
    assert (own_db.data / "postgresql.conf").read_text() == conf


def test_the_configuration_survives_a_rewind_that_was_killed(own_db):
    """The copy that a killed attempt left behind is the node's own; the next attempt does not replace it."""
    own_db.sql("CREATE TABLE t (a int)")
    with standby(own_db) as new:
        part(own_db, new)
        own = (own_db.data / "postgresql.conf").read_text()
        kept = Path(f"{own_db.data}.salvor-conf")
        kept.mkdir(mode=0o777)
        kept.chmod(0o777)
        (kept / "postgresql.conf").write_text(own)
        (own_db.data / "postgresql.conf").write_text((new.data / "postgresql.conf").read_text() + "# of the source\n")
        done = own_db.node.rewind(new.cluster.copy_conninfo("n2"), 60)
        assert done.rc == 0, done.err
    assert (own_db.data / "postgresql.conf").read_text() == own


def test_a_running_server_is_not_rewound(own_db):
    """Rewinding under a running server would destroy it."""
    done = own_db.node.rewind(own_db.cluster.copy_conninfo("n1"), 10)
    assert (done.rc, "still running" in done.err) == (65, True)


def test_what_a_rewind_discards_can_be_listed_before(own_db):
    """The commits after the fork are read from the old WAL, with an end that is no error."""
    own_db.sql("CREATE TABLE t (a int)")
    fork = str(own_db.sql("SELECT pg_current_wal_insert_lsn()")[0][0])
    own_db.sql("INSERT INTO t VALUES (1)")
    own_db.sql("INSERT INTO t VALUES (2)")
    own_db.node.stop("kill")
    done = own_db.node.waldump(1, fork, 10)
    assert done.out.count("COMMIT") == 2
    assert len(own_db.node.waldump(1, fork, 10, limit=1).out.splitlines()) == 1


def test_what_a_rewind_discards_can_be_kept(own_db):
    """The old WAL from the fork on lies beside the data directory, with the list; doing it twice is doing it once."""
    own_db.sql("CREATE TABLE t (a int)")
    own_db.sql("SELECT pg_switch_wal()")
    own_db.sql("INSERT INTO t VALUES (1)")
    fork = str(own_db.sql("SELECT pg_current_wal_insert_lsn()")[0][0])
    segment = str(own_db.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0])
    own_db.node.stop("kill")
    wal = own_db.data / "pg_wal"
    everything = sorted(p.name for p in wal.glob("0*"))
    shutil.copy(wal / everything[0], wal / "0000000100000000000000F0")  # as a segment that waits to be written again
    places = {own_db.node.keep_wal(1, fork, "COMMIT\n", 10) for _ in range(2)}
    (place,) = places
    kept = sorted(p.name for p in Path(place).iterdir())
    assert kept == [segment, "commits.txt"]
    assert everything[0] < segment
    assert Path(place, "commits.txt").read_text() == "COMMIT\n"


def test_a_finished_copy_takes_the_place_of_the_old_directory_which_is_kept(own_db):
    """The copy has this node's configuration, and an unfinished one takes nobody's place."""
    with standby(own_db) as new:
        promote(new)
        (own_db.data / "postgresql.conf").write_text((own_db.data / "postgresql.conf").read_text() + "# of n1 alone\n")
        own_db.node.stop("kill")
        Path(own_db.node.copy_directory).mkdir()
        with pytest.raises(ScriptFailed, match="not finished"):
            own_db.node.exchange_directory(10)
        own_db.node.remove_copy(10)
        own_db.node.basebackup(new.cluster.copy_conninfo("n2"), own_db.node.copy_directory, 60)
        said = own_db.node.exchange_directory(10)
    kept = Path(said.removeprefix("the old directory is kept as "))
    assert (kept / "PG_VERSION").exists()
    assert "# of n1 alone" in (own_db.data / "postgresql.conf").read_text()
    assert own_db.node.has_standby_signal()
    assert not Path(own_db.node.copy_directory).exists()
