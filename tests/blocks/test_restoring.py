"""A set becomes a directory: proven while it is copied, resumed when that was cut off, then put in its place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from blocks.backup_listing import wal_name
from blocks.errors import Transient
from blocks.postgres_host import ScriptFailed
from blocks.restoring import Restoring, SetUnfit, target_settings
from tests.repositories import F1, F2, I1, SIZE, flip, small_disk, truncate

pytestmark = pytest.mark.long

#: Copies of a directory the first 300 files and half of the next one, and is then killed with all of its group.
HALF_WAY = """
from=$3; into=$4; cd "$from" && find . -type d -exec mkdir -p -m 700 "$into/{}" ";"
find . -type f -printf "%P\\n" | sort >"$into.names"
head -n 300 "$into.names" | xargs -d "\\n" "$REAL" -a --parents -t "$into"
half=$(find . -type f -size +64k -printf "%P\\n" | sort | tail -n 1); head -c 9000 "$half" >"$into/$half"
kill -9 0
"""


def verified(past, folder: Path) -> str:
    argv = [past.node.bin / "pg_verifybackup", "-q", folder]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stderr


def identities(folder: Path) -> dict[Path, tuple[int, int]]:
    """Give for each file what changes when it is written again."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {file: (file.stat().st_ino, file.stat().st_ctime_ns) for file in found}


def alike(file: Path, source: Path) -> bool:
    one, other = file.stat(), source.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


# --- copying


@pytest.mark.parametrize("chain", [(F2,), (F1, I1)])
def test_a_set_is_copied_whole(past, copy, chain):
    """Also one that is built from increments; the repository is only read."""
    place = copy.restoring()
    before = identities(copy.path)
    assert place.copy(chain, 60) == "copied"
    assert verified(past, place_of(place)) == ""
    assert identities(copy.path) == before
    assert place.look()["chain"] == " ".join(chain)


def place_of(place) -> Path:
    return Path(place.grown.data_directory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: flip(data / "base" / "5" / "1259", 8192 + 100),
        lambda data: truncate(data / "base" / "5" / "1259", 8192),
        lambda data: (data / "base" / "5" / "1259").unlink(),
        lambda data: flip(data / "backup_manifest", 300),
        lambda data: (data / "backup_manifest").unlink(),
        lambda data: flip(next((data / "pg_wal").glob("0*")), 100),
    ],
)
def test_a_damaged_set_is_found_while_it_is_copied(copy, damage):
    """A bit in a page, a table cut off, a file that is missing, the manifest, the WAL of the set itself."""
    damage(copy.data(F2))
    with pytest.raises(SetUnfit, match="The set is damaged") as wrong:
        copy.restoring().copy((F2,), 60)
    assert list(wrong.value.bad) == [F2]
    assert wrong.value.bad[F2]


def test_of_a_chain_exactly_the_damaged_set_is_named(copy):
    """What is built on it is whole, and would be of no use either; another chain may still use the others."""
    flip(copy.data(F1) / "base" / "5" / "1259", 8192 + 100)
    with pytest.raises(SetUnfit) as wrong:
        copy.restoring().copy((F1, I1), 60)
    assert list(wrong.value.bad) == [F1]


def test_after_a_damaged_set_another_one_is_copied_into_the_same_place(past, copy):
    """Nothing of the damaged one is left in it."""
    flip(copy.data(F2) / "base" / "5" / "1259", 8192 + 100)
    place = copy.restoring()
    with pytest.raises(SetUnfit):
        place.copy((F2,), 60)
    assert place.copy((F1,), 60) == "copied"
    assert verified(past, place_of(place)) == ""


@pytest.mark.parametrize("why", ["no permission", "no program", "killed"])
def test_a_set_that_could_not_be_read_is_not_condemned(past, copy, why):
    """A wrong path or a missing right would otherwise cost every set, one after the other."""
    place = copy.restoring()
    if why == "no permission":
        (copy.data(F2) / "base" / "5" / "1259").chmod(0)
    else:
        folder = copy.path.with_name("bin")
        folder.mkdir()
        if why == "killed":
            (folder / "pg_verifybackup").write_text("#!/bin/sh\nkill -9 $$\n")
            (folder / "pg_verifybackup").chmod(0o755)
        place.node = place.node.model_copy(update={"bin_directory": str(folder)})
        copy.native.block = copy.native.block.model_copy(update={"bin_directory": str(folder)})
    try:
        with pytest.raises(ScriptFailed, match="could not be compared with its manifest"):
            place.copy((F2,), 60)
        with pytest.raises(ScriptFailed, match="could not be read"):
            copy.native.verify(past.pristine.set(F2))
    finally:
        (copy.data(F2) / "base" / "5" / "1259").chmod(0o600)
    assert copy.set(F2).good


def test_a_host_that_does_not_see_the_repository_says_so(copy):
    """Its mount is missing there."""
    place = copy.restoring()
    copy.path.rename(copy.path.with_name("elsewhere"))
    assert "repository" not in place.look()
    with pytest.raises(ScriptFailed, match="does not see the repository"):
        place.copy((F2,), 60)


def test_a_repository_that_is_read_only_can_be_restored_from(past, copy):
    """As it is in a drill, and should be in a disaster."""
    for folder in (copy.path, copy.path / "sets", copy.path / "sets" / F2, copy.data(F2)):
        folder.chmod(0o555)
    place = copy.restoring()
    assert place.copy((F2,), 60) == "copied"
    assert verified(past, place_of(place)) == ""
    assert oct(place_of(place).stat().st_mode)[-3:] == "700"


def test_what_no_restore_has_left_is_in_the_way(copy):
    """Somebody's files are not removed."""
    place_of(copy.restoring()).mkdir()
    (place_of(copy.restoring()) / "mine").write_text("precious")
    with pytest.raises(ScriptFailed, match="is in the way, and no restore has left it"):
        copy.restoring().copy((F2,), 60)
    assert (place_of(copy.restoring()) / "mine").read_text() == "precious"


# --- cut off, and again


def test_a_restore_that_was_killed_goes_on(past, copy):
    """SIGKILL half-way: files that were copied whole stay as they are, the half one and the missing ones are copied."""
    into = copy.path.with_name("scratch")
    with pytest.raises(ScriptFailed):
        copy.restoring(into, past_shim(copy, "cp", HALF_WAY)).copy((F2,), 60)
    done = identities(into)
    names = {file.relative_to(into) for file in done}
    assert 250 < len(names) < len([file for file in copy.data(F2).rglob("*") if file.is_file()]) - 100
    assert not (into / "global" / "pg_control").exists()
    assert copy.restoring(into).copy((F2,), 60) == "went on where an earlier restore had stopped"
    assert verified(past, into) == ""
    again = [file for file, identity in identities(into).items() if file in done and done[file] != identity]
    assert len(again) == 1, "only the one that was half copied"


def past_shim(copy, program: str, text: str) -> str:
    return copy.past.shim(copy.path.parent, program, text)


def test_a_restore_of_increments_that_was_killed_begins_anew(past, copy):
    """Nothing says how far pg_combinebackup came."""
    into = copy.path.with_name("scratch")
    with pytest.raises(ScriptFailed):
        copy.restoring(into, past_shim(copy, "cp", HALF_WAY)).copy((F1,), 60)
    assert copy.restoring(into).copy((F1, I1), 60) == "copied"
    into.joinpath("base", "5", "1259").unlink()
    assert copy.restoring(into).copy((F1, I1), 60) == "copied"
    assert verified(past, into) == ""


def test_a_copy_that_was_prepared_is_made_whole_again(past, copy):
    """A run that died between the configuration and the exchange leaves its own files in the copy."""
    place = copy.restoring()
    place.copy((F2,), 60)
    place.prepare(F2, target_settings("immediate", "", 1, "promote"), own=False)
    assert place.copy((F2,), 60) == "went on where an earlier restore had stopped"
    assert verified(past, place_of(place)) == ""


def test_damage_that_an_earlier_attempt_left_is_not_the_sets(past, copy):
    """A copy that has the size and the time of the set, and another content, is thrown away; the set is not blamed."""
    place = copy.restoring()
    place.copy((F2,), 60)
    file = place_of(place) / "base" / "5" / "1259"
    at = file.stat()
    flip(file, 8192 + 100)
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    with pytest.raises(SetUnfit) as wrong:
        place.copy((F2,), 60)
    assert wrong.value.bad == {}
    place.remove()
    assert place.copy((F2,), 60) == "copied"
    assert verified(past, place_of(place)) == ""


def test_a_full_disk_ends_a_restore_which_then_goes_on(past, copy):
    """When there is room again, what was copied is not copied twice."""
    disk = copy.path.with_name("disk")
    with small_disk(past, disk, 30) as enlarge:
        with pytest.raises(ScriptFailed, match="could not be restored into"):
            copy.restoring(disk / "data").copy((F2,), 60)
        done = identities(disk / "data")
        whole = {file for file in done if alike(file, copy.data(F2) / file.relative_to(disk / "data"))}
        enlarge(200)
        assert copy.restoring(disk / "data").copy((F2,), 60) == "went on where an earlier restore had stopped"
        assert verified(past, disk / "data") == ""
        kept = {file for file, identity in identities(disk / "data").items() if done.get(file) == identity}
        assert len(kept) > 100
        assert not [file for file in done.keys() - kept if file in whole]


# --- what never reached the repository


def archived(copy, place) -> Path:
    """Give a damaged directory that has WAL which the repository has lost; say of each file what it is."""
    data = Path(place.node.data_directory)
    (data / "pg_wal").mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    for file in [*copy.path.glob("wal/*Z/0*")]:
        bare = data / "pg_wal" / file.name.removesuffix(".partial")
        subprocess.run(["cp", "-p", file, bare], check=True)
        file.unlink()
    (data / "pg_wal" / "00000002.history").write_text("1\t0/5000028\tno reason\n")
    subprocess.run(["chown", "-R", copy.past.lab.account.name, data.parent], check=True)
    return data


def test_a_salvage_that_was_killed_begins_anew(past, copy):
    """SIGKILL in the middle of a file: nothing of it counts; then all is there once, the old directory as it was."""
    place, start = copy.beside(), copy.set(F2).start_lsn
    data = archived(copy, place)
    before, contents = identities(data), {file.name: file.read_bytes() for file in (data / "pg_wal").glob("0*")}
    half = '[ "$(ls "$3" | wc -l)" -lt 2 ] && exec "$REAL" "$@"; head -c 9000 "$2" >"$3/${2##*/}"; kill -9 0'
    place.node = place.node.model_copy(update={"control": past.control(past_shim(copy, "cp", half))})
    with pytest.raises(ScriptFailed):
        place.salvage("20261104T000000Z", start, SIZE, 60)
    assert len(list(copy.path.glob("wal/*Z.part/0*"))) == 3
    assert copy.native.look().archive.files == ()
    assert copy.native.prove(1, start).last_record == start
    place.node = place.node.model_copy(update={"control": past.control()})
    said = place.salvage("20261104T000001Z", start, SIZE, 60)
    wanted = {name: content for name, content in contents.items() if name[8:] >= wal_name(0, start, SIZE)[8:]}
    assert said.startswith(f"{len(wanted) + 1} files of WAL copied out of")
    assert place.salvage("20261104T000001Z", start, SIZE, 60).startswith("already copied out of")
    assert {file.name: file.read_bytes() for file in copy.path.glob("wal/*/" + "?" * 24)} == wanted
    assert not list(copy.path.glob("wal/*.part"))
    assert copy.native.prove(1, start).end_lsn >= past.ends[8]
    assert identities(data) == before


# --- its place


@pytest.fixture
def place(past, copy):
    """Give a copy beside a data directory that was copied before, and that is damaged since."""
    it = copy.beside()
    data = Path(it.node.data_directory)
    data.parent.mkdir()
    past.lab.account.own(data.parent)
    subprocess.run(["cp", "-a", past.pristine.data(F1), data], check=True)
    (data / "postgresql.conf").write_text("# of this node\n")
    (data / "pg_hba.conf").write_text("")
    it.copy((F2,), 60)
    copy_nodes(copy)
    it.prepare(F2, target_settings("lsn", "0/1", 1, "promote"), own=True)
    return it


def copy_nodes(copy) -> None:
    kept = copy.path / "sets" / F2 / "nodes" / "scratch"
    kept.mkdir(parents=True)
    (kept / "pg_hba.conf").write_text("# as it was kept\n")
    (kept / "postgresql.conf").write_text("# as it was kept, and is not wanted\n")
    for each in (kept.parent, kept, *kept.iterdir()):
        copy.past.lab.account.own(each)


def test_a_restored_server_is_configured_as_its_node(copy, place):
    """From the directory whose place it takes, else from the set where that has lost it; for its owner alone."""
    grown = place_of(place)
    assert (grown / "postgresql.conf").read_text() == "# of this node\n"
    assert (grown / "pg_hba.conf").read_text() == "# as it was kept\n"
    for name in ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf", "pg_ident.conf"):
        assert oct((grown / name).stat().st_mode)[-3:] == "600", name
    settings = (grown / "postgresql.auto.conf").read_text()
    for line in (
        "recovery_target_lsn = '0/1'",
        "recovery_target_timeline = '1'",
        "recovery_target_action = 'promote'",
        "recovery_target_inclusive = 'true'",
        f"restore_command = '/bin/sh salvor-fetch-wal ''{copy.path}'' %f %p'",
    ):
        assert line in settings
    assert (grown / "recovery.signal").exists()
    assert not (grown / "standby.signal").exists()


def test_old_and_new_directory_change_places_and_back(place):
    """Nothing is removed; each of the two is done once, however often it is asked for."""
    data = Path(place.node.data_directory)
    old = data.stat().st_ino
    assert "the old directory is kept as" in place.exchange("S1")
    assert place.exchange("S1") == "already in its place"
    assert place.look()["restored"] == "S1"
    assert (data / "recovery.signal").exists()
    assert data.with_name("data.damaged-S1").stat().st_ino == old
    assert "is back as" in place.unexchange("S1")
    assert place.unexchange("S1") == "nothing had changed places"
    assert data.stat().st_ino == old
    assert "restored" not in place.look() or place.look()["restored"] == ""


def test_once_clients_were_let_in_the_old_directory_does_not_return(place):
    """They have written rows into the new one; a later run that fails must not put those aside."""
    data = Path(place.node.data_directory)
    place.exchange("S1")
    chain = place.look()["chain"]
    place.admit("S1")
    place.admit("S1")
    assert (place.look()["restored"], place.look()["chain"]) == ("S1", chain)
    with pytest.raises(ScriptFailed, match=r"clients were let into .* by an earlier run"):
        place.unexchange("S1")
    assert (data / "recovery.signal").exists()
    with pytest.raises(ScriptFailed, match="is not what was restored"):
        place.admit("S2")


def test_an_exchange_that_was_killed_between_its_renames_is_finished(copy, place):
    """The directory is missing then; the next attempt puts the new one there."""
    data = Path(place.node.data_directory)
    place.node = place.node.model_copy(
        update={"control": copy.past.control(past_shim(copy, "mv", '"$REAL" "$@"; kill -9 0'))}
    )
    with pytest.raises(ScriptFailed):
        place.exchange("S1")
    assert not data.exists()
    place.node = place.node.model_copy(update={"control": copy.past.control()})
    assert "restored into" in place.exchange("S1")
    assert (data / "recovery.signal").exists()
    assert data.with_name("data.damaged-S1").exists()


def test_an_unfinished_copy_takes_nobodys_place(copy):
    """It has no configuration yet, or is not there at all."""
    place = copy.beside()
    Path(place.node.data_directory).mkdir(parents=True)
    with pytest.raises(ScriptFailed, match="is not finished"):
        place.exchange("S1")
    assert Path(place.node.data_directory).exists()


def test_a_directory_that_cannot_be_renamed_stays_as_it_is(past, place):
    """A mount point cannot: the copy must not land inside it, and be called restored."""
    data = Path(place.node.data_directory)
    whole = data.rename(data.with_name("whole"))
    with small_disk(past, data, 100):
        subprocess.run(["cp", "-a", f"{whole}/.", data], check=True)
        if not data.is_mount():
            pytest.skip("nothing can be mounted here")
        with pytest.raises(ScriptFailed, match="cannot be renamed: it must be no mount point"):
            place.exchange("S1")
        assert (data / "PG_VERSION").exists()
        assert not (data / "data.salvor-restore").exists()
    assert place_of(place).exists()


def test_a_directory_with_a_running_server_keeps_its_place(past, copy):
    """It would write into files that are elsewhere now."""
    place = Restoring(past.scratch_node(past.node.data), str(copy.path), str(copy.path.with_name("scratch")))
    place.copy((F2,), 60)
    place.prepare(F2, target_settings("immediate", "", 1, "promote"), own=False)
    with pytest.raises(ScriptFailed, match="a server is still running"):
        place.exchange("S1")
    assert past.sql("SELECT 1") == [(1,)]


def test_no_target_is_ever_the_end_of_what_there_is():
    """PostgreSQL would take a hole for it."""
    with pytest.raises(Transient):
        target_settings("latest", "", 1, "promote")
    assert target_settings("immediate", "", 3, "promote") == {
        "recovery_target": "immediate",
        "recovery_target_inclusive": "true",
        "recovery_target_timeline": "3",
        "recovery_target_action": "promote",
    }
