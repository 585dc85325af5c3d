"""Sets whose files pgBackRest holds are kept, proven, restored and let go as all others are."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks.backup_records import shown
from blocks.native_backup import NativeRepository
from blocks.pgbackrest_place import PgBackRest
from blocks.postgres_host import ScriptFailed
from blocks.restoring import Restoring, SetUnfit, target_settings
from tests import stanzas
from tests.lab.processes import alive, wait_until
from tests.repositories import F1, F2, I1, flip, replace

pytestmark = [stanzas.needs_pgbackrest, pytest.mark.long]

NEW, OTHER, NEXT = "20261104T000000Z-full", "20261104T000001Z-full", "20261105T000000Z-incremental"
#: Settings with which a copy can be started beside its primary.
APART = {"unix_socket_directories": "", "hot_standby": "on", "listen_addresses": "127.0.0.1"}


@pytest.fixture(scope="module")
def elder():
    """Give the primary on PostgreSQL 15 whose sets pgBackRest holds."""
    with stanzas.past() as it:
        yield it


@pytest.fixture
def copy(elder):
    """Give a copy of both repositories, which the test may break."""
    it = elder.copy()
    yield it
    it.remove()


@contextmanager
def streaming(copy):
    """Let WAL stream into a copy, so that more sets can be taken into it."""
    copy.native.stream(copy.past.source, copy.past.system)
    try:
        yield copy
    finally:
        copy.native.unstream()


def ids(copy) -> list[str]:
    return [each.id for each in copy.native.look().sets]


def rows(copy, chain: tuple[str, ...], number: int) -> list[int]:
    """Restore CHAIN, recover to where the commit NUMBER ends, and give the numbers that are there."""
    past, place = copy.past, copy.restoring()
    place.copy(chain, 60)
    settings = target_settings("lsn", shown(past.ends[number]), 1, "promote")
    place.prepare(chain[-1], settings | APART | {"port": str(place.node.port)}, own=False)
    (Path(place.node.data_directory) / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    place.node.start(30)
    try:
        query = "SELECT n FROM events ORDER BY n"
        argv = [past.node.bin / "psql", "-h", "127.0.0.1", "-p", str(place.node.port), "-U", "postgres", "-Atc", query]
        return [int(n) for n in subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()]
    finally:
        place.node.stop("kill", 30)


def program(copy, text: str) -> None:
    """Let pgBackRest be a program that may call the real one; REAL is its name."""
    shim = copy.path.with_name("pgbackrest")
    shim.write_text(f'#!/bin/sh\nREAL=pgbackrest\n{text}\nexec $REAL "$@"\n')
    shim.chmod(0o755)
    place = copy.block.pgbackrest.model_copy(update={"program": str(shim)})
    copy.block = copy.block.model_copy(update={"pgbackrest": place})
    copy.native = copy.reach.repository


def spoil(copy, label: str, *, longer_than: int = 0) -> Path:
    """Change one bit in the middle of the largest file that pgBackRest has kept under a label."""
    files = (copy.store / "backup" / "orders" / label / "pg_data" / "base").rglob("*")
    file = max((each for each in files if each.is_file()), key=lambda each: each.stat().st_size)
    assert file.stat().st_size > longer_than
    flip(file, file.stat().st_size // 2)
    return file


# --- what is in it


def test_sets_are_listed_with_what_was_found_of_them(elder, copy):
    """A full set, one on top of it, and another; all proven, of this cluster, and pgBackRest holds each."""
    seen = copy.native.look()
    assert [(each.id, each.kind, each.parent, each.good) for each in seen.sets] == [
        (F1, "full", "", True), (I1, "incremental", F1, True), (F2, "full", "", True),
    ]  # fmt: skip
    assert {(each.system_identifier, each.major, each.timeline) for each in seen.sets} == {(elder.system, 15, 1)}
    assert copy.kept() == {each.label: each.id for each in seen.sets}
    assert seen.sets[1].bytes < seen.sets[0].bytes / 2
    assert not list(copy.path.glob("sets/*/data/[!l]*"))


@pytest.mark.parametrize(("chain", "number"), [((F1,), 2), ((F1, I1), 5), ((F2,), 7)])
def test_a_set_is_restored_and_recovers_to_an_exact_position(copy, chain, number):
    """Every commit up to there is there, and none after it; its WAL comes from Salvor's repository."""
    assert rows(copy, chain, number) == list(range(1, number + 1))


def test_settings_of_the_set_are_kept_and_no_target_of_pgbackrest(copy):
    """It writes a restore_command of its own, and makes the copy look as if it were prepared."""
    place = copy.restoring()
    place.copy((F2,), 60)
    grown = Path(place.grown.data_directory)
    assert not (grown / "recovery.signal").exists()
    assert "restore_command" not in (grown / "postgresql.auto.conf").read_text()
    with pytest.raises(ScriptFailed, match="is not finished"):
        place.exchange("S1")


def test_what_is_encrypted_and_bundled_is_kept_proven_and_restored(elder):
    """Small files share one, nobody reads them without the pass phrase, and a bit that is another one is found."""
    copy = elder.empty()
    more = "repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=lab-only\nrepo1-bundle=y\ncompress-type=zst\n"
    configuration = Path(copy.block.pgbackrest.config)
    configuration.write_text(configuration.read_text().replace("[global]\n", f"[global]\n{more}"))
    with streaming(copy):
        copy.take(NEW)
        copy.take(NEXT, parent=NEW)
    assert copy.restoring().copy((NEW, NEXT), 60) == "copied"
    bundles = (copy.store / "backup" / "orders" / copy.label(NEW) / "bundle").iterdir()
    largest = max(bundles, key=lambda each: each.stat().st_size)
    flip(largest, largest.stat().st_size // 2)
    assert "are damaged" in copy.native.verify(copy.set(NEXT))
    with pytest.raises(SetUnfit):
        copy.restoring(copy.path.with_name("again")).copy((NEW, NEXT), 60)


# --- damage


def test_a_bit_in_what_pgbackrest_holds_is_found(copy):
    """It is written down, the set is good no more, and the others are."""
    spoil(copy, copy.label(F2))
    assert "are damaged" in copy.native.verify(copy.set(F2))
    assert [(each.id, each.good) for each in copy.native.look().sets] == [(F1, True), (I1, True), (F2, False)]
    assert copy.native.verify(copy.set(I1)) == ""


def test_a_damaged_set_is_named_when_it_is_restored_and_another_one_takes_its_place(copy):
    """Nothing of the damaged one is left in the folder."""
    spoil(copy, copy.label(F2))
    with pytest.raises(SetUnfit, match="The set is damaged") as wrong:
        copy.restoring().copy((F2,), 60)
    assert list(wrong.value.bad) == [F2]
    assert rows(copy, (F1, I1), 7) == list(range(1, 8))


@pytest.mark.parametrize("what", ["a file is gone", "the manifest", "the set"])
def test_every_damage_of_a_set_is_found(copy, what):
    """A file that is missing, a manifest that cannot be read, a backup that pgBackRest has let go."""
    made, label = copy.set(F2), copy.label(F2)
    if what == "a file is gone":
        spoil(copy, label).unlink()
    elif what == "the set":
        copy.run("expire", f"--set={label}")
    else:
        for file in (copy.store / "backup" / "orders" / label).glob("backup.manifest*"):
            flip(file, 300)
    assert copy.native.verify(made) != ""
    with pytest.raises(SetUnfit) as wrong:
        copy.restoring().copy((F2,), 60)
    assert list(wrong.value.bad) == [F2]


def test_a_set_without_its_wal_is_none(copy):
    """It is not in the set, as it is in one of pg_basebackup."""
    made = copy.set(F2)
    copy.segment(made.start_lsn).unlink()
    assert copy.native.verify(made) != ""
    assert not copy.set(F2).good


@pytest.mark.parametrize("why", ["its place is gone", "no file", "no manifest", "no program", "killed"])
def test_a_repository_that_cannot_be_read_condemns_no_set(copy, why):
    """A mount or a right that is missing would otherwise cost every set, one after the other."""
    made = copy.set(F2)
    if why == "its place is gone":
        copy.store.rename(copy.store.with_name("elsewhere"))
    elif why == "no file":
        spoil(copy, copy.label(F2)).chmod(0)
    elif why == "no manifest":
        for file in (copy.store / "backup" / "orders" / copy.label(F2)).glob("backup.manifest*"):
            flip(file, 300)
            file.chmod(0)
    else:
        program(copy, "kill -9 $$" if why == "killed" else "exit 127")
    with pytest.raises(ScriptFailed, match="could not be read"):
        copy.native.verify(made)
    with pytest.raises(ScriptFailed, match=r"could not (be read|restore)"):
        copy.restoring().copy((F2,), 60)
    assert copy.set(F2).good


# --- cut off, and again


def test_a_restore_that_was_killed_goes_on(copy):
    """SIGKILL half-way: it cannot be started as it is, and the next attempt makes it whole."""
    place, grown = copy.restoring(), copy.path.with_name("scratch")
    program(
        copy,
        f'case "$*" in *restore*) $REAL "$@" & until [ "$(find {grown} -type f 2>/dev/null | wc -l)" -gt 300 ]; do '
        "sleep 0.005; done; kill -9 $!; exit 137;; esac",
    )
    with pytest.raises(ScriptFailed):
        copy.restoring().copy((F2,), 60)
    assert (grown / "PG_VERSION").exists() or (grown / "backup.manifest").exists()
    assert not (grown / "global" / "pg_control").exists()
    program(copy, "")
    assert place.copy((F2,), 60) == "went on where an earlier restore had stopped"
    assert rows(copy, (F2,), 7) == list(range(1, 8))


def test_a_restore_that_was_killed_before_its_first_file_begins_anew(copy):
    """PgBackRest itself would take the folder for somebody's, and refuse."""
    place, grown = copy.restoring(), copy.path.with_name("scratch")
    program(copy, f'case "$*" in *restore*) mkdir -p {grown}/base {grown}/global; exit 137;; esac')
    with pytest.raises(ScriptFailed):
        copy.restoring().copy((F2,), 60)
    assert place.copy((F2,), 60) == "went on where an earlier restore had stopped"


def test_a_copy_that_was_prepared_is_made_whole_again(copy):
    """A run that died between the configuration and the exchange leaves its own files in the copy."""
    place = copy.restoring()
    place.copy((F2,), 60)
    place.prepare(F2, target_settings("immediate", "", 1, "promote"), own=False)
    file = max(Path(place.grown.data_directory, "base").rglob("[0-9]*"), key=lambda each: each.stat().st_size)
    flip(file, 100)
    assert place.copy((F2,), 60) == "went on where an earlier restore had stopped"
    assert rows(copy, (F2,), 7) == list(range(1, 8))


def test_a_backup_that_was_killed_leaves_no_set(elder, copy):
    """SIGKILL of pgBackRest while it copies; the next backup is whole."""
    program(copy, 'case "$*" in *" backup "*) $REAL "$@" & sleep 1.5; kill -9 $!; exit 137;; esac')
    with pytest.raises(ScriptFailed, match="could not take a backup"):
        copy.native.take(NEW, elder.source, elder.system, 60)
    assert ids(copy) == [F1, I1, F2]
    program(copy, "")
    with streaming(copy):
        assert copy.native.clear() == f"removed .{NEW}.part"
        assert copy.take(OTHER).id == OTHER
    assert set(copy.kept().values()) == {F1, I1, F2, OTHER}


def test_a_backup_that_goes_on_without_its_run_is_ended(elder, copy):
    """The shell is dead, pgBackRest is not: it is ended before what it made is removed."""
    with ThreadPoolExecutor() as pool:
        made = pool.submit(copy.native.take, NEW, elder.source, elder.system, 60)
        part = copy.path / "sets" / f".{NEW}.part"
        wait_until(lambda: made.done() or working(NEW), 20, "pgBackRest to begin")
        os.kill(int((part / "group").read_text()), signal.SIGKILL)
        with pytest.raises(ScriptFailed):
            made.result()
    orphans = working(NEW)
    assert orphans
    assert copy.native.clear() == f"removed .{NEW}.part"
    wait_until(lambda: not any(alive(pid) for pid in orphans), 10, "pgBackRest to end")
    assert set(copy.kept().values()) == {F1, I1, F2}


def working(name: str) -> list[int]:
    """Give the processes of pgBackRest that take a set."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"pgbackrest") and f"--annotation=salvor={name}".encode() in words:
            found.append(int(entry.name))
    return found


def test_a_set_is_none_before_it_is_whole(elder, copy):
    """Everything is copied, and the run dies before the last step: what pgBackRest holds of it goes as well."""
    copy.native.take(NEW, elder.source, elder.system, 60)
    assert NEW in copy.kept().values()
    assert ids(copy) == [F1, I1, F2]
    assert copy.native.clear() == f"removed .{NEW}.part"
    assert set(copy.kept().values()) == {F1, I1, F2}
    assert copy.native.clear() == ""


def test_the_only_backup_of_a_stanza_is_cleared_when_there_is_another(elder):
    """PgBackRest never lets its only full backup go; nothing is forgotten for that."""
    copy = elder.empty()
    with streaming(copy):
        copy.native.take(NEW, elder.source, elder.system, 60)
        assert copy.native.clear() == f".{NEW}.part stays until pgBackRest lets it go"
        copy.take(OTHER)
        assert copy.native.clear() == f"removed .{NEW}.part"
    assert list(copy.kept().values()) == [OTHER]


# --- what is asked of pgBackRest


def test_a_page_that_is_damaged_in_the_database_is_no_set(elder, copy):
    """PgBackRest keeps it all the same, and ends with 0."""
    elder.sql("CREATE TABLE spoilt AS SELECT g FROM generate_series(1, 5000) g")
    elder.sql("CHECKPOINT")
    name = str(elder.sql("SELECT pg_relation_filepath('spoilt')")[0][0])
    with (elder.node.data / name).open("r+b") as file:
        file.seek(8192 + 4000)
        file.write(b"other")
    try:
        with pytest.raises(ScriptFailed, match="another checksum"):
            copy.native.take(NEW, elder.source, elder.system, 60)
    finally:
        elder.sql("DROP TABLE spoilt")
        elder.sql("CHECKPOINT")
    assert copy.native.clear() == f"removed .{NEW}.part"
    assert set(copy.kept().values()) == {F1, I1, F2}


@pytest.mark.parametrize("newest", ["another set", "somebody else's"])
def test_a_set_is_built_on_what_was_planned_or_not_at_all(elder, copy, newest):
    """PgBackRest builds on its newest backup, and can be told no other."""
    if newest == "somebody else's":
        copy.run("backup", "--type=full", "--no-archive-check", "--no-expire-auto", "--start-fast")
    parent = F2 if newest == "somebody else's" else I1
    with pytest.raises(ScriptFailed, match="builds on its newest backup only"):
        copy.native.take(NEXT, elder.source, elder.system, 60, parent=parent)
    assert NEXT not in copy.kept().values()


def test_no_stanza_is_made_where_there_must_be_one(elder, copy):
    """The disk of pgBackRest's repository is not mounted: no new one is begun in its place."""
    copy.store.rename(copy.store.with_name("elsewhere"))
    with pytest.raises(ScriptFailed, match="pgBackRest"):
        copy.native.take(NEW, elder.source, elder.system, 60)
    assert not copy.store.exists()


# --- letting go


def test_a_set_is_let_go_in_both_repositories(copy):
    """The newest of a chain first."""
    said = copy.native.expire((I1, F1), None)
    assert said.startswith(f"expired {I1}; expired {F1}; ")
    assert ids(copy) == [F2]
    assert list(copy.kept().values()) == [F2]
    assert not list(copy.path.glob("sets/.*"))
    assert copy.native.verify(copy.set(F2)) == ""


def test_what_others_are_built_on_stays_with_pgbackrest(copy):
    """A run restores from the newest of the chain: pgBackRest would let it go with the full one."""
    copy.native.use((I1,), "run-1")
    assert "others are built on it" in copy.native.expire((I1, F1), None)
    assert set(copy.kept().values()) == {F1, I1, F2}
    copy.native.unuse("run-1")
    copy.native.expire((I1,), None)
    assert set(copy.kept().values()) == {F2}


def test_what_could_not_be_let_go_goes_the_next_time(copy):
    """PgBackRest's repository is out of reach: the record is gone first, so nobody restores from it meanwhile."""
    copy.store.rename(copy.store.with_name("elsewhere"))
    assert "pgBackRest keeps" in copy.native.expire((I1,), None)
    assert ids(copy) == [F1, F2]
    copy.store.with_name("elsewhere").rename(copy.store)
    copy.native.expire((), None)
    assert set(copy.kept().values()) == {F1, F2}
    assert not list(copy.path.glob("sets/.*"))


# --- beside sets of pg_basebackup


def test_whoever_changes_to_pgbackrest_keeps_his_sets(elder, copy):
    """A set of pg_basebackup is verified, restored and let go beside those of pgBackRest."""
    before = NativeRepository(copy.block.model_copy(update={"pgbackrest": PgBackRest()}))
    after, copy.native = copy.native, before
    with streaming(copy):
        assert copy.take(NEW).label == ""
    copy.native = after
    assert copy.native.verify(copy.set(NEW)) == ""
    assert copy.restoring().copy((NEW,), 60) == "copied"
    assert f"expired {NEW}" in copy.native.expire((NEW,), None)


def test_without_its_stanza_a_set_of_pgbackrest_is_left_alone(copy):
    """Whoever has emptied the block's form reads what is missing; no set is condemned for it."""
    made = copy.set(F2)
    without = NativeRepository(copy.block.model_copy(update={"pgbackrest": PgBackRest()}))
    place = copy.restoring()
    with pytest.raises(ScriptFailed, match="name its stanza"):
        without.verify(made)
    with pytest.raises(ScriptFailed, match="names no stanza"):
        Restoring(place.node, str(copy.path), str(copy.path.with_name("scratch"))).copy((F2,), 60)
    assert "names no stanza" in without.expire((I1,), None)
    assert copy.set(F2).good
    assert set(copy.kept().values()) == {F1, I1, F2}


def test_a_label_that_was_changed_restores_nothing(copy):
    """A record leads to a backup that pgBackRest does not hold."""
    replace(copy.path / "sets" / F2 / "data" / "label", b"20200101-000000F\n")
    with pytest.raises(SetUnfit):
        copy.restoring().copy((F2,), 60)
