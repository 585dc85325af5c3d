"""How a recovery asks for WAL: "there is none" ends it well, "I could not look" must not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blocks import restore_scripts
from blocks.node_scripts import script
from blocks.restoring import _shell
from tests.lab.account import place, unprivileged

THERE, NOWHERE, NOT_LOOKED = 0, 1, 126
NAME, HISTORY, SIZE = "000000010000000000000005", "00000002.history", 2**20
OLD, NEW = "20261101T000000Z", "20261102T000000Z"


class Asked:
    """A repository, and a server beside it that recovers."""

    def __init__(self, root: Path, called: str) -> None:
        self.repository, self.data = root / called, root / "data"
        self.wal = self.repository / "wal"
        for stream in (OLD, NEW):
            (self.wal / stream).mkdir(parents=True)
        (self.repository / "system").write_text("7\n")
        (self.wal / "receiver.log").write_text("")
        (self.data / "pg_wal").mkdir(parents=True)
        (self.data / "PG_VERSION").write_text("18\n")
        given = {"INTO": str(self.data), "D": str(root / "none"), "R": str(self.repository), "B": "", "LAST": ""}
        prepare = script(restore_scripts.PREPARE, **given, NODE="n1", OWN="no")
        subprocess.run(["/bin/sh", "-c", prepare], check=True, stdout=subprocess.DEVNULL)

    def keep(self, stream: str, name: str, content: bytes) -> Path:
        """Let the archive hold a file."""
        file = self.wal / stream / name
        file.write_bytes(content)
        return file

    def fetch(self, name: str) -> tuple[int, bytes]:
        """Ask as PostgreSQL does, and as its user; give the exit code and the file that arrived."""
        to = "pg_wal/RECOVERYXLOG"
        template = f"/bin/sh salvor-fetch-wal {_shell(str(self.repository))} %f %p"
        command = re.sub("%(.)", lambda found: {"f": name, "p": to, "%": "%"}[found[1]], template)
        for path in (self.data, *self.data.rglob("*")):
            unprivileged().own(path)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.data, check=False, stderr=subprocess.DEVNULL, **unprivileged().dropping
        )
        file = self.data / to
        return done.returncode, file.read_bytes() if file.exists() else b""


@pytest.fixture(params=["repository", "my $HOME `x` 'it''s' 50%f [a-z]* ü"])
def asked(request):
    """Give both, in a folder with a plain name and in one with an odd one."""
    root = place()
    yield Asked(root, request.param)
    for path in root.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(root)


def whole(letter: bytes) -> bytes:
    return letter * SIZE


Given = list[tuple[str, str, bytes]]
ANSWERS: dict[str, tuple[Given, int, bytes]] = {
    "it is there": ([(OLD, NAME, whole(b"a"))], THERE, whole(b"a")),
    "it is nowhere": ([(OLD, NAME[:-1] + "6", whole(b"a"))], NOWHERE, b""),
    "the newest stream counts": ([(OLD, NAME, whole(b"a")), (NEW, NAME, whole(b"b"))], THERE, whole(b"b")),
    "what is still written counts": ([(OLD, NAME + ".partial", whole(b"a"))], THERE, whole(b"a")),
    "a whole one counts more": ([(OLD, NAME, whole(b"a")), (NEW, NAME + ".partial", whole(b"b"))], THERE, whole(b"a")),
    "cut off, and an older one": ([(NEW, NAME, b"b" * 999_999), (OLD, NAME, whole(b"a"))], THERE, whole(b"a")),
    "cut off in the middle": ([(NEW, NAME, b"b" * (SIZE + 8192)), (OLD, NAME, whole(b"a"))], THERE, whole(b"a")),
    "cut off, and a part of it": ([(NEW, NAME, b""), (NEW, NAME + ".partial", whole(b"a"))], THERE, whole(b"a")),
    "cut off, and no other": ([(NEW, NAME, b"b" * 8192)], NOWHERE, b""),
    "a history is short": ([(OLD, HISTORY, b"1\t0/5000028\tno reason\n")], THERE, b"1\t0/5000028\tno reason\n"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_file_of_wal_is_found_or_is_nowhere(asked: Asked, case: str) -> None:
    """Which of several files is taken, and that one which a full disk has cut off is none."""
    files, code, arrived = ANSWERS[case]
    for stream, name, content in files:
        asked.keep(stream, name, content)
    assert asked.fetch(HISTORY if "history" in case else NAME) == (code, arrived)


def unmounted(asked: Asked) -> None:
    asked.repository.rename(asked.repository.with_name("elsewhere"))
    asked.repository.mkdir()


def no_system(asked: Asked) -> None:
    (asked.repository / "system").unlink()


def no_archive(asked: Asked) -> None:
    asked.wal.rename(asked.repository / "elsewhere")


def closed_archive(asked: Asked) -> None:
    asked.wal.chmod(0)


def closed_stream(asked: Asked) -> None:
    (asked.wal / NEW).chmod(0)


def closed_file(asked: Asked) -> None:
    asked.keep(NEW, NAME, whole(b"b")).chmod(0)


def no_room(asked: Asked) -> None:
    (asked.data / "pg_wal").rename(asked.data / "elsewhere")


@pytest.mark.parametrize(
    "broken", [unmounted, no_system, no_archive, closed_archive, closed_stream, closed_file, no_room]
)
def test_who_could_not_look_never_says_that_there_is_none(asked: Asked, broken: Callable[[Asked], None]) -> None:
    """PostgreSQL would take that for the end of the WAL, and promote without what is there."""
    asked.keep(OLD, NAME, whole(b"a"))
    broken(asked)
    assert asked.fetch(NAME) == (NOT_LOOKED, b"")


def test_an_archive_without_a_stream_has_no_wal(asked: Asked) -> None:
    """So it is where only the sets themselves hold any: their recovery ends at their end."""
    for stream in (OLD, NEW):
        (asked.wal / stream).rmdir()
    assert asked.fetch(NAME) == (NOWHERE, b"")
