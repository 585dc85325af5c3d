"""WAL goes on into the repository, whatever happens to the process, the primary or the disk."""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab.processes import alive, wait_until
from tests.repositories import F2, small_disk

pytestmark = pytest.mark.long


@pytest.fixture
def copy(past):
    """Give a copy of the repository into which WAL streams."""
    it = past.copy(data=False)
    it.native.stream(past.source, past.system)
    past.await_arrival()
    yield it
    it.native.unstream()
    wait_until(lambda: not streamed(past), 10, "the stream to end")
    it.remove()


def streamed(past) -> list[tuple[int]]:
    return past.sql("SELECT pid FROM pg_stat_replication WHERE application_name = 'salvor_backup'")


def receiver(copy) -> int:
    return int((copy.path / "wal" / "receiver").read_text())


def write(past) -> None:
    """Fill a segment of WAL, and begin the next one."""
    past.sql("SELECT pg_logical_emit_message(false, 'salvor', 'something')")
    past.sql("SELECT pg_switch_wal()")
    past.sql("SELECT pg_logical_emit_message(false, 'salvor', 'something')")


def whole_to_now(copy, past) -> bool:
    """Whether all WAL from the last set to what is written now is in the repository."""
    past.await_arrival()
    now = past.sql("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0]
    proof = copy.native.prove(1, copy.set(F2).start_lsn)
    return proof.broken == "" and proof.end_lsn >= now


def test_a_stream_that_was_killed_goes_on_where_it_stopped(past, copy):
    """The slot keeps what was written meanwhile; whoever comes next starts it again, once."""
    old = receiver(copy)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not alive(old), 5, "the stream to end")
    assert not copy.native.look().archive.receiver.alive
    write(past)
    assert copy.native.stream(past.source, past.system).startswith("streaming into")
    assert copy.native.stream(past.source, past.system) == "already streaming"
    assert whole_to_now(copy, past)
    assert copy.native.look().archive.receiver.alive


def test_a_stream_that_has_lost_its_primary_is_not_alive(past, copy):
    """Its process waits for the primary to come back, and what is committed meanwhile is not here."""
    assert copy.native.look().archive.receiver.alive
    past.sql(f"SELECT pg_terminate_backend({streamed(past)[0][0]})")
    wait_until(lambda: not streamed(past), 5, "the connection to end")
    seen = copy.native.look().archive.receiver
    assert (seen.alive, alive(receiver(copy))) == (False, True)
    assert "waiting" in seen.said


def test_a_process_that_was_given_the_number_of_an_old_stream_is_none(past, copy):
    """After a restart of the host another program may have it."""
    old = receiver(copy)
    (copy.path / "wal" / "receiver").write_text(str(os.getpid()))
    try:
        assert not copy.native.look().archive.receiver.alive
    finally:
        (copy.path / "wal" / "receiver").write_text(str(old))


def test_after_a_fork_the_stream_begins_in_a_folder_of_its_own(past, copy):
    """What is there stays untouched, and both are one archive."""
    before = sorted(copy.path.glob("wal/*Z"))
    assert copy.native.stream(past.source, past.system, anew=True).startswith("streaming into")
    assert len(sorted(copy.path.glob("wal/*Z"))) == len(before) + 1
    write(past)
    assert whole_to_now(copy, past)


def test_a_full_disk_does_not_end_the_archive(past):
    """pg_receivewal leaves a file that is too short and then refuses it for ever; the next look after it mends that."""
    copy = past.empty()
    with small_disk(past, copy.path, 40) as enlarge:
        copy.native.stream(past.source, past.system)
        past.await_arrival()
        for _ in range(3):
            write(past)
        wait_until(lambda: not copy.native.look().archive.receiver.alive, 20, "the disk to be full")
        short = [file for file in copy.path.glob("wal/*/*.partial") if file.stat().st_size < 2**24]
        assert len(short) == 1
        assert int(short[0].name[16:24], 16) not in {file.number for file in copy.native.look().archive.files}
        enlarge(300)
        assert copy.native.stream(past.source, past.system) == "already streaming"
        past.await_arrival()
        seen = copy.native.look().archive
        assert [file.number for file in seen.files] == list(range(seen.files[0].number, seen.files[-1].number + 1))
        copy.native.unstream()
        wait_until(lambda: not streamed(past), 10, "the stream to end")
