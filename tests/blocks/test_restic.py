"""What restic keeps comes back; what is wrong with its place is said in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.backup_records import Snapshot
from blocks.errors import Misconfigured, Transient
from blocks.postgres_host import ScriptFailed
from blocks.restic import NoPlace
from blocks.restic_place import ResticPlace
from tests.blocks.servers import dropping, free_port, run, scratch
from tests.lab.processes import wait_until
from tests.stores import PASSWORD, SFTP_SERVER, flip_a_bit, needs_restic, restic, s3, write

pytestmark = [needs_restic, pytest.mark.long]
S3_KEYS = "AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY='very secret'"


#: Every call of restic costs a third of a second, for that is what its key is meant to cost whoever guesses it.
@pytest.fixture(scope="module")
def kept():
    """Give a folder with a place of restic, in which one file was kept with the set s1; and the snapshot."""
    with scratch() as root:
        write(root / "app" / "data.json", '{"a": 1}')
        it = restic(root / "place")
        assert it.open(make=True) == "made"
        it.keep([str(root / "app")], "s1", "files", 60)
        (snapshot,) = it.snapshots()
        yield root, snapshot


@pytest.fixture
def folder(kept):
    """Give a copy of that folder, to break."""
    with scratch() as root:
        run("cp", "-a", kept[0] / "place", root / "place")
        yield root


def test_what_is_kept_is_listed_by_its_set_and_comes_back(kept: tuple[Path, Snapshot]) -> None:
    """It comes back under its whole path, and once more is not twice; what a killed restore left is replaced."""
    root, snapshot = kept
    it, into = restic(root / "place"), root / "back"
    assert (snapshot.set_id, snapshot.what) == ("s1", "files")
    assert it.read(snapshot.id, f"{root}/app/data.json") == '{"a": 1}'
    write(into / ".salvor-part" / "half.json", "{")
    assert it.restore(snapshot.id, str(into), 60) == "restored"
    assert [path.read_text() for path in into.rglob("*.json")] == ['{"a": 1}']
    assert (into / str(root / "app" / "data.json").lstrip("/")).exists()
    assert it.restore(snapshot.id, str(into), 60) == "already there"
    with pytest.raises(Misconfigured, match="is not empty"):
        it.restore("another", str(into), 60)


def test_a_file_that_cannot_be_read_is_no_whole_snapshot(folder: Path) -> None:
    """The sentence names the file, and nothing is left that could be taken for the files of that set."""
    write(folder / "closed" / "secret", "x").chmod(0)
    it = restic(folder / "place")
    with pytest.raises(ScriptFailed, match=r"Not every file could be read.*closed/secret"):
        it.keep([str(folder / "closed")], "s2", "files", 60)
    assert [each.set_id for each in it.snapshots()] == ["s1"]


def test_forgetting_leaves_what_is_not_named(kept: tuple[Path, Snapshot], folder: Path) -> None:
    """Only the snapshots that are named go."""
    it = restic(folder / "place")
    write(folder / "more", "2")
    second = it.keep([str(folder / "more")], "s2", "files", 60)
    it.forget((kept[1].id,), 60)
    assert [each.id[:8] for each in it.snapshots()] == [second]


def test_a_flipped_bit_in_a_pack_is_found_and_named(kept: tuple[Path, Snapshot], folder: Path) -> None:
    """Reading what is kept is what finds it; the restore fails as well, instead of giving something else."""
    it = restic(folder / "place")
    flip_a_bit(folder / "place")
    assert "does not match" in it.verify(60)
    with pytest.raises(ScriptFailed, match="is damaged"):
        it.restore(kept[1].id, str(folder / "back"), 60)


def test_another_password_is_said_and_never_shown(kept: tuple[Path, Snapshot]) -> None:
    """The sentence says what is wrong; neither password is in it."""
    with pytest.raises(Misconfigured, match=r"password .* is another one") as caught:
        restic(kept[0] / "place", password="not the pass phrase").snapshots()
    assert "not the pass" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a folder away from the database's user")
def test_a_place_that_cannot_be_written_still_gives_what_it_holds(kept: tuple[Path, Snapshot], folder: Path) -> None:
    """Keeping is refused at once; listing and restoring work."""
    run("chmod", "-R", "a-w", folder / "place")
    it = restic(folder / "place")
    with pytest.raises(Misconfigured, match="cannot be written"):
        it.keep(["/etc/hostname"], "s2", "files", 60)
    assert it.restore(kept[1].id, str(folder / "back"), 60) == "restored"


def test_a_place_that_is_not_there_is_not_made_unasked(folder: Path) -> None:
    """A disk that is not mounted must not become a second, empty place."""
    with pytest.raises(NoPlace, match="There is no restic repository at"):
        restic(folder / "nowhere").open(make=False)
    assert not (folder / "nowhere").exists()


def test_what_a_killed_run_has_locked_is_free_again(kept: tuple[Path, Snapshot], folder: Path) -> None:
    """While somebody is at work there, nothing is removed; when he is dead, his lock is no obstacle."""
    it = restic(folder / "place")
    argv = ["restic", "--no-cache", "-r", str(folder / "place"), "backup", "--stdin"]
    env = {"RESTIC_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env, cwd="/", **dropping()
    ) as other:
        wait_until(lambda: list((folder / "place" / "locks").iterdir()), 30, "restic to be at work")
        with pytest.raises(Transient, match="Somebody else is at work"):
            it.forget((kept[1].id,), 60)
        other.kill()
    assert it.open(make=False) == "there"
    it.forget((kept[1].id,), 60)


def test_a_place_that_does_not_answer_is_transient() -> None:
    """Asking again later may help."""
    nobody = f"s3:http://127.0.0.1:{free_port()}/backups"
    with pytest.raises(Transient, match="cannot be reached"):
        restic(nobody, environment=S3_KEYS).snapshots()


def test_an_s3_keeps_it_too() -> None:
    """Over HTTP, with keys that stand on no command line."""
    with s3() as address, scratch() as root:
        write(root / "data.json", "{}")
        it = restic(address, environment=S3_KEYS)
        it.open(make=True)
        snapshot = it.keep([str(root / "data.json")], "s1", "files", 60)
        assert it.verify(60) == ""
        assert it.restore(snapshot, str(root / "back"), 60) == "restored"


@pytest.mark.skipif(not Path(SFTP_SERVER).exists(), reason="Debian's openssh-sftp-server is not installed")
def test_an_sftp_server_keeps_it_too(folder: Path) -> None:
    """Through the command that leads to it, which is an option of the block."""
    it = restic(f"sftp:anybody@vault:{folder}/place", options=[f"sftp.command={SFTP_SERVER}"])
    write(folder / "data.json", "{}")
    snapshot = it.keep([str(folder / "data.json")], "s2", "files", 60)
    assert it.restore(snapshot, str(folder / "back"), 60) == "restored"


def test_nothing_secret_stands_on_a_command_line(kept: tuple[Path, Snapshot]) -> None:
    """Neither in the script, which everybody sees in the list of processes."""
    it = restic(kept[0] / "place", environment=S3_KEYS)
    seen: list[str] = []

    class Spy(type(it.control)):  # type: ignore[misc]  # whatever kind of control it is
        def run(self, script, deadline_seconds, **more):
            seen.append(script)
            return super().run(script, deadline_seconds, **more)

    restic_seen = type(it)(it.place, Spy.model_validate(it.control.model_dump()), it.owner)
    restic_seen.snapshots()
    assert len(seen) == 1
    assert not [secret for secret in (PASSWORD, "very secret", "key") if secret in seen[0]]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("password", "", "give its repository a password"),
        ("password", "two\nlines", "of one line"),
        ("repository", "rest:https://me:secret@vault/", "password in the address"),
        ("environment", "AWS_SECRET", "NAME=value"),
    ],
)
def test_a_form_that_is_filled_in_wrong_says_so(field: str, value: str, said: str) -> None:
    """Before anything is run, and without what was filled in."""
    with pytest.raises(ValidationError, match=said) as caught:
        ResticPlace.model_validate({"repository": "/place", "password": "good"} | {field: value})
    assert "secret@" not in str(caught.value)


def test_without_restic_its_package_is_named(kept: tuple[Path, Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the host reads what to install."""
    programs = kept[0] / "programs"
    run("mkdir", "-p", programs)
    for name in ("sh", "id"):
        (programs / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(Misconfigured, match="install Debian's package restic"):
        restic(kept[0] / "place").snapshots()
