"""A set is whole or it is none, whatever happens while it is taken, kept or expired."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks.errors import Ambiguous
from blocks.native_backup import NativeRepository
from blocks.postgres_host import ScriptFailed
from tests.lab.processes import alive, wait_until
from tests.repositories import F1, F2, I1, flip, replace, small_disk, truncate

pytestmark = pytest.mark.long

NEW, OTHER = "20261104T000000Z-full", "20261104T000001Z-full"


@contextmanager
def slow(past, rate: str = "2M"):
    """Give a copy whose backups take their time, so that something can happen to them."""
    folder = past.lab.vault / "slow"
    folder.mkdir(exist_ok=True)
    for program in past.node.bin.iterdir():
        if not (folder / program.name).exists():
            (folder / program.name).symlink_to(program)
    shim = folder / "pg_basebackup"
    shim.unlink()  # a link to the program itself
    shim.write_text(f'#!/bin/sh\nexec {past.node.bin}/pg_basebackup --max-rate={rate} "$@"\n')
    shim.chmod(0o755)
    yield past.copy(bin_directory=str(folder))


@contextmanager
def taking(copy, name: str = NEW):
    """Take a set in another thread; give its future when files arrive."""
    part = copy.path / "sets" / f".{name}.part"
    with ThreadPoolExecutor() as pool:
        made = pool.submit(copy.take, name)
        wait_until(lambda: made.done() or (part / "data" / "base").exists(), 20, "a backup to begin")
        yield made


def group(copy, name: str = NEW) -> int:
    return int((copy.path / "sets" / f".{name}.part" / "group").read_text())


def members(copy, name: str = NEW) -> dict[int, str]:
    """Give the processes that take a set, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f".{name}.part" in words and "pg_basebackup" in words:
            found[int(entry.name)] = words
    return found


def ids(copy) -> list[str]:
    return [each.id for each in copy.native.look().sets]


# --- what is in it


def test_sets_are_listed_with_what_was_found_of_them(past, records):
    """A full set, one on top of it, and another; all proven, of this cluster."""
    seen = records.native.look()
    assert [(each.id, each.kind, each.parent, each.good) for each in seen.sets] == [
        (F1, "full", "", True), (I1, "incremental", F1, True), (F2, "full", "", True),
    ]  # fmt: skip
    assert (seen.system_identifier, seen.writable, seen.frozen, seen.unreadable) == (past.system, True, "", ())
    assert seen.sets[1].bytes < seen.sets[0].bytes
    assert seen.free_bytes > 0


@pytest.mark.parametrize("table", [1259, 1249])
def test_a_bit_in_a_page_is_found(copy, table):
    """It is written down, and the set is good no more."""
    (file,) = list(copy.data(F2).glob(f"base/5/{table}"))
    flip(file, 8192 + 100)
    assert "checksum mismatch" in copy.native.verify(copy.set(F2))
    assert not copy.set(F2).good
    assert "checksum mismatch" in copy.set(F2).bad


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: flip(data / "backup_manifest", 300), "its manifest is not the one that was written"),
        (lambda data: truncate(data / "base" / "5" / "1259", 8192), "1259"),
        (lambda data: (data / "base" / "5" / "1259").unlink(), "1259"),
        (lambda data: (data / "base" / "5" / "9999").write_bytes(b"more"), "9999"),
        (lambda data: (data / "backup_manifest").unlink(), "its manifest is not the one that was written"),
    ],
)
def test_every_damage_of_a_set_is_found(copy, damage, says):
    """A manifest that was changed, a table that was cut off, a file that is missing, one too many."""
    damage(copy.data(F2))
    assert says in copy.native.verify(copy.set(F2))
    assert [each.good for each in copy.native.look().sets] == [True, True, False]


def test_a_set_that_was_once_found_damaged_is_never_trusted_again(copy):
    """A disk that gives another answer the next time is no disk to restore from."""
    copy.native.condemn(F2, "a restore met a bad page")
    assert copy.native.verify(copy.set(F2)) == ""
    assert (copy.set(F2).good, copy.set(F2).bad) == (False, "a restore met a bad page")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: "",
        lambda text: text.replace('"timeline":1', '"timeline":2'),
        lambda text: text.replace("0", "1", 1),
        lambda text: "\x00" + text,
        lambda text: json.dumps(json.loads(text) | {"id": I1}),
    ],
)
def test_a_set_whose_record_is_damaged_is_named_and_never_used(records, damage):
    """Cut off, empty, one digit another one, of another set: nobody restores from it, and nothing hides that."""
    record = records.path / "sets" / F2 / "set.json"
    replace(record, damage(record.read_text()).encode())
    seen = records.native.look()
    assert seen.unreadable == (F2,)
    assert [each.id for each in seen.sets] == [F1, I1]


# --- who may write into it


def test_a_repository_that_is_not_there_yet_is_empty_and_can_be_written(past):
    """The first backup makes it."""
    seen = past.empty().native.look()
    assert (seen.sets, seen.system_identifier, seen.writable) == ((), "", True)


def test_the_repository_of_another_cluster_is_left_alone(past, records):
    """Two clusters in one place would be restored into each other."""
    replace(records.path / "system", b"4711\n")
    for write in (
        lambda: records.native.take(NEW, past.source, past.system, 30),
        lambda: records.native.stream(past.source, past.system),
    ):
        with pytest.raises(ScriptFailed, match=r"holds the backups of another cluster \(4711\)"):
            write()
    assert ids(records) == [F1, I1, F2]


def test_a_repository_that_is_out_of_reach_is_no_empty_one(past, records):
    """Its disk is not mounted: neither is it read as empty, nor is a new one begun beside it."""
    records.path.rename(records.path.with_name("elsewhere"))
    records.path.parent.chmod(0o555)
    try:
        with pytest.raises(ScriptFailed, match="cannot be read: mount it, or correct directory"):
            records.native.look()
        with pytest.raises(ScriptFailed, match="cannot be written: mount it"):
            records.native.take(NEW, past.source, past.system, 30)
    finally:
        records.path.parent.chmod(0o755)


def test_a_repository_that_is_read_only_can_be_read_and_says_so(past, records):
    """A set is not taken, and not expired; all that is there can be restored."""
    for folder in (records.path, records.path / "sets", records.path / "wal", records.path / "sets" / F1):
        folder.chmod(0o555)
    try:
        seen = records.native.look()
        assert (len(seen.sets), seen.writable) == (3, False)
        for write, says in (
            (lambda: records.native.take(NEW, past.source, past.system, 30), "cannot be written"),
            (lambda: records.native.expire((F1,), None), "could not expire sets"),
            (lambda: records.native.use((F1,), "run-1"), "could not hold a set"),
            (lambda: records.native.freeze("why"), "could not be frozen"),
        ):
            with pytest.raises(ScriptFailed, match=says):
                write()
    finally:
        records.path.chmod(0o755)
        (records.path / "sets").chmod(0o755)
    assert ids(records) == [F1, I1, F2]


# --- what happens while it is taken


def test_a_set_is_none_before_it_is_whole(past):
    """Everything is copied, and the run dies before the last step: nothing is listed, and the next one removes it."""
    copy = past.copy()
    copy.native.take(NEW, past.source, past.system, 60)
    assert ids(copy) == [F1, I1, F2]
    assert copy.native.clear() == f"removed .{NEW}.part"
    assert copy.native.clear() == ""


@pytest.mark.parametrize("whom", ["pg_basebackup", "the shell"])
def test_a_backup_that_was_killed_leaves_no_set(past, whom):
    """SIGKILL; what is left goes with the next backup, which is whole, and a copier that lives on is ended first."""
    with slow(past) as copy:
        with taking(copy) as made:
            victims = [group(copy)] if whom == "the shell" else list(members(copy))
            orphans = members(copy)
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(ScriptFailed):
                made.result()
        assert ids(copy) == [F1, I1, F2]
        assert copy.native.clear() == f"removed .{NEW}.part"
        wait_until(lambda: not any(alive(pid) for pid in orphans), 10, "the copier to end")
    copy.native = NativeRepository(copy.block.model_copy(update={"bin_directory": str(past.node.bin)}))
    assert copy.take(OTHER).id == OTHER
    assert ids(copy) == [F1, I1, F2, OTHER]
    assert not list(copy.path.glob("sets/.*"))


def test_a_backup_that_takes_too_long_is_not_known_to_have_failed(past):
    """It may go on where the deadline did not reach; it leaves no set either way."""
    with slow(past) as copy:
        with pytest.raises(Ambiguous):
            copy.native.take(NEW, past.source, past.system, 1.0)
        assert ids(copy) == [F1, I1, F2]
        copy.native.clear()
        assert not members(copy)


def test_two_backups_at_once_do_not_mix(past):
    """Under two names both are whole; under one name the second is turned away. The lease keeps them apart anyway."""
    with slow(past, "20M") as copy, taking(copy) as first:
        fast = NativeRepository(copy.block.model_copy(update={"bin_directory": str(past.node.bin)}))
        with pytest.raises(ScriptFailed, match="another backup takes this set"):
            fast.take(NEW, past.source, past.system, 60)
        second = past.copy()
        second.native, second.path = fast, copy.path
        assert second.take(OTHER).id == OTHER
        assert first.result().id == NEW
    assert ids(copy) == [F1, I1, F2, NEW, OTHER]


def test_what_was_cleared_away_while_it_grew_never_becomes_a_set(past, copy):
    """A run that lost its lease goes on, and would keep a set of a record alone."""
    made = copy.native.take(NEW, past.source, past.system, 60)
    copy.native.clear()
    kept = copy.set(F2).model_copy(update={"id": NEW, "manifest_sha256": made.manifest_sha256})
    for write in (lambda: copy.native.put(NEW, "nodes/n1/postgresql.conf", "x"), lambda: copy.native.commit(kept)):
        with pytest.raises(ScriptFailed, match="somebody else has cleared it away"):
            write()
    assert ids(copy) == [F1, I1, F2]
    assert not list(copy.path.glob("sets/.*"))


def test_a_full_disk_ends_a_backup_and_nothing_else(past):
    """No set is left; when there is room again the next one is whole."""
    copy = past.empty()
    with small_disk(past, copy.path, 40) as enlarge:
        with pytest.raises(ScriptFailed, match="could not take a backup"):
            copy.take(NEW)
        assert ids(copy) == []
        enlarge(200)
        assert copy.native.clear() == f"removed .{NEW}.part"
        assert copy.take(NEW).id == NEW
        assert ids(copy) == [NEW]
