"""MongoDB's tools are told what they document, and what they say is believed only where it can be read.

No MongoDB can be installed here: the two programs are stand-ins, which write down how they were called.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks import mongo
from blocks.backup_records import MongoArchive
from blocks.backup_repository import BackupRepository
from blocks.errors import Misconfigured
from blocks.node_control import CommandControl
from blocks.postgres_host import ScriptFailed

URL = 'mongodb://backup:s3"cret@db.example.com:27017/?replicaSet=rs0'
ARCHIVE = bytes.fromhex("6de29981") + b"the rest of an archive" * 100
DUMP = """#!/bin/sh
printf '%s\n' "$@" >{calls}
for word in "$@"; do case $word in
  --archive=*) cp {archive} "${{word#--archive=}}";;
  --config=*) cp -p "${{word#--config=}}" {calls}.conf;;
esac; done
echo "2026-11-29T02:00:00.000+0000\tdone dumping shop.orders (120 documents)" >&2
echo "2026-11-29T02:00:00.100+0000\tdone dumping shop.users (1 document)" >&2
{end}
"""
RESTORE = """#!/bin/sh
printf '%s\n' "$@" >{calls}
echo "2026-11-29T03:00:00.000+0000\t{said}" >&2
"""


class Host:
    """A repository's host on which both tools are stand-ins."""

    def __init__(self, root: Path, **block: str) -> None:
        self.root, self.bin, self.calls = root, root / "bin", root / "calls"
        self.bin.mkdir()
        (root / "repository/sets/.s1.part").mkdir(parents=True)
        self.dumps(ARCHIVE)
        template = f"PATH={self.bin}:$PATH sh -c {{script}}"
        self.block = BackupRepository(
            directory=str(root / "repository"), bin_directory="/nowhere", control=CommandControl(template=template),
            mongo_url=SecretStr(URL), **{name: SecretStr(value) for name, value in block.items()},
        )  # fmt: skip

    def tool(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def dumps(self, content: bytes, end: str = "exit 0") -> None:
        """Let mongodump write CONTENT."""
        with gzip.open(self.root / "archive", "wb") as file:
            file.write(content)
        self.tool("mongodump", DUMP.format(calls=self.calls, archive=self.root / "archive", end=end))

    def keep(self) -> MongoArchive:
        kept = mongo.keep(self.block, "s1", 20)
        (self.root / "repository/sets/.s1.part").rename(self.root / "repository/sets/s1")
        return kept

    def restores(self, done: int, failed: int) -> None:
        said = f"{done} document(s) restored successfully. {failed} document(s) failed to restore."
        self.tool("mongorestore", RESTORE.format(calls=self.calls, said=said))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, mongo_restore_url="mongodb://127.0.0.1:27018")


def test_an_archive_is_kept_and_the_address_is_no_argument_of_it(host: Host) -> None:
    """All of it is of one moment; the password is in a file that only its owner reads, and that is gone then."""
    kept = host.keep()
    words = host.calls.read_text().split()
    assert (kept.documents, kept.bytes) == (121, (host.root / "archive").stat().st_size)
    assert {"--gzip", "--oplog", "--archive=mongo.archive.gz"} <= set(words)
    assert "s3" not in host.calls.read_text()
    conf = Path(f"{host.calls}.conf")
    assert (conf.stat().st_mode & 0o777, conf.read_text()) == (0o600, f"uri: {json.dumps(URL)}\n")
    assert [each.name for each in (host.root / "repository/sets/s1").iterdir()] == ["dumps"]


@pytest.mark.parametrize(
    ("content", "end", "said"),
    [
        (b"an error page" * 100, "exit 0", "no archive"),
        (ARCHIVE, "echo 'Failed: error connecting to db server' >&2; exit 1", "error connecting to db server"),
    ],
)
def test_what_is_no_archive_is_not_kept(host: Host, content: bytes, end: str, said: str) -> None:
    """Neither an exit code of 0 nor a file that is there is believed."""
    host.dumps(content, end)
    with pytest.raises(ScriptFailed, match=said):
        host.keep()
    assert not list((host.root / "repository/sets/.s1.part/dumps").iterdir())


def test_it_comes_back_into_the_server_that_is_meant_for_it(host: Host) -> None:
    """Every document that was kept is counted; nothing is dropped."""
    kept = host.keep()
    host.restores(121, 0)
    assert mongo.restore(host.block, "s1", kept, 20).startswith("121 documents of MongoDB are back")
    words = host.calls.read_text().split()
    assert {"--gzip", "--oplogReplay"} <= set(words)
    assert "--drop" not in words
    assert not list((host.root / "repository").glob(".salvor-mongo*"))


@pytest.mark.parametrize(("done", "failed"), [(120, 0), (121, 1), (0, 121)])
def test_documents_that_do_not_come_back_are_a_failure(host: Host, done: int, failed: int) -> None:
    """The tool ends with 0 all the same."""
    kept = host.keep()
    host.restores(done, failed)
    with pytest.raises(ScriptFailed, match=f"{done} of 121 documents .* {failed} failed"):
        mongo.restore(host.block, "s1", kept, 20)


def test_a_damaged_archive_or_no_address_restores_nothing(host: Host) -> None:
    """One byte that is another is found before the tool is started."""
    kept = host.keep()
    file = host.root / "repository/sets/s1/dumps/mongo.archive.gz"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    host.restores(121, 0)
    host.calls.unlink()
    with pytest.raises(ScriptFailed, match="not as it was written"):
        mongo.restore(host.block, "s1", kept, 20)
    host.block.mongo_restore_url = SecretStr("")
    with pytest.raises(Misconfigured, match="fill in mongo_restore_url"):
        mongo.restore(host.block, "s1", kept, 20)
    assert not host.calls.exists()
