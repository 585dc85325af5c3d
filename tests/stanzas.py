"""A primary of Debian's PostgreSQL, whose sets pgBackRest holds; the history is that of tests/repositories.py."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.cluster import Lab
from tests.repositories import Copy, Past

#: What Debian's pgBackRest knows: it is older than the PostgreSQL of the lab.
DEBIAN = Path("/usr/lib/postgresql/15/bin")
STANZA = "orders"
needs_pgbackrest = pytest.mark.skipif(
    not (shutil.which("pgbackrest") and (DEBIAN / "postgres").exists()),
    reason="Debian's packages pgbackrest and postgresql-15 are not installed",
)

# It tries once more, and then again after 15 s, to read what cannot be read; that is for networks.
CONFIGURATION = """\
[global]
repo1-path={folder}/store
lock-path={folder}/lock
log-level-file=off
compress-level=1
process-max=2
job-retry=0
[orders]
pg1-path={node.data}
pg1-port={node.server_port}
pg1-socket-path={node.folder}
pg1-user=postgres
"""


def stanza(lab: Lab, folder: Path) -> dict[str, str]:
    """Configure pgBackRest for the lab's first node, with its repository in FOLDER; give what a block needs to know."""
    config = folder / "pgbackrest.conf"
    config.write_text(CONFIGURATION.format(folder=folder, node=lab.nodes["n1"]))
    return {"stanza": STANZA, "config": str(config)}


class StanzaCopy(Copy):
    """A repository of one's own, and pgBackRest's beside it."""

    def __init__(self, past: Past, path: Path, **block: Any) -> None:
        super().__init__(past, path, pgbackrest=stanza(past.lab, path.parent) | block)

    @property
    def store(self) -> Path:
        """Where pgBackRest keeps what it holds."""
        return self.path.with_name("store")

    def label(self, name: str) -> str:
        return (self.path / "sets" / name / "data" / "label").read_text().strip()

    def kept(self) -> dict[str, str]:
        """Give the labels that pgBackRest holds, each with the set that it was taken for."""
        found = json.loads(self.run("info", "--output=json"))[0]["backup"]
        return {each["label"]: each.get("annotation", {}).get("salvor", "") for each in found}

    def run(self, *argv: str) -> str:
        command = ["pgbackrest", f"--stanza={STANZA}", f"--config={self.block.pgbackrest.config}", *argv]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd="/", **self.past.lab.account.dropping
        )
        return done.stdout


class StanzaPast(Past):
    """The same history, on PostgreSQL 15."""

    def empty(self, **block: Any) -> StanzaCopy:
        """Give a repository that is not there yet."""
        return StanzaCopy(self, self._folder() / "repository", **block)

    def copy(self, *, data: bool = True, **block: Any) -> StanzaCopy:
        """Give a copy of both repositories; nothing streams into it."""
        folder = self._folder()
        for part in ("repository", "store"):
            subprocess.run(["cp", "-al", self.pristine.path.with_name(part), folder], check=True)
        (folder / "repository" / "wal" / "receiver.log").unlink()
        return StanzaCopy(self, folder / "repository", **block)


@contextmanager
def past() -> Iterator[StanzaPast]:
    """Bring up a lab of one node, and let its history happen."""
    with Lab(nodes=1, pooler=False, proxies=False, sync=False, fast=True, debian=DEBIAN) as lab:
        it = StanzaPast(lab)
        it.live()
        yield it
