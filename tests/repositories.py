"""A primary and the repository of its backups, whose history is known; tests break copies of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from blocks.backup_listing import wal_name
from blocks.backup_records import BackupSet, lsn
from blocks.backup_repository import BackupRepository, Scratch
from blocks.native_backup import SLOT
from blocks.node_control import CommandControl
from blocks.postgres_node import PostgresNode
from blocks.restoring import Restoring
from tasks.backups.reach import Reach
from tests.lab import blocks as lab_blocks
from tests.lab.cluster import Lab
from tests.lab.processes import wait_until

SIZE = 16 * 2**20
F1, I1, F2 = "20261101T000000Z-full", "20261102T000000Z-incremental", "20261103T000000Z-full"
#: The restore point between the commits 5 and 6.
POINT = "before-six"


class Copy:
    """A repository of one's own."""

    def __init__(self, past: Past, path: Path, **block: Any) -> None:
        self.past, self.path = past, path
        given = {"directory": str(path), "bin_directory": str(past.node.bin), "control": past.control()}
        self.block = BackupRepository(**given | block)
        self.native = self.reach.repository

    def remove(self) -> None:
        """Remove it, with all that a test has made beside it."""
        subprocess.run(["rm", "-rf", self.path.parent], check=True)

    def set(self, name: str) -> BackupSet:
        return next(each for each in self.native.look().sets if each.id == name)

    def data(self, name: str) -> Path:
        return self.path / "sets" / name / "data"

    def segment(self, position: int) -> Path:
        """Give the file of the archive that holds POSITION."""
        name = wal_name(1, position, SIZE)
        (found,) = [*self.path.glob(f"wal/*/{name}"), *self.path.glob(f"wal/*/{name}.partial")]
        return found

    def restoring(self, folder: Path | None = None, before: str = "") -> Restoring:
        """Restore into FOLDER, else one of one's own; the shell BEFORE each script."""
        into = folder or self.path.with_name("scratch")
        node = self.past.scratch_node(into, before)
        return Restoring(node, str(self.path), str(into), self.block.pgbackrest)

    def beside(self) -> Restoring:
        """Restore beside a data directory, whose place is then taken."""
        data = self.path.with_name("node") / "data"
        return Restoring(self.past.scratch_node(data), str(self.path), f"{data}.salvor-restore")

    @property
    def reach(self) -> Reach:
        """Reach it as a procedure does, with a folder where a copy may be built."""
        folder = self.past.lab.vault / "scratch"
        scratch = Scratch(
            directory=str(folder), port=self.past.lab.spec["scratch"], bin_directory=str(self.past.node.bin),
            control=self.past.control(), keep_free_bytes=0,
        )  # fmt: skip
        return Reach(target="orders", cluster=self.past.cluster, block=self.block, scratch=scratch)

    def take(self, name: str, *, parent: str = "", seconds: float = 60) -> BackupSet:
        """Keep a set of the primary, as a procedure does, but count nothing."""
        past, began = self.past, datetime.now(UTC)
        made = self.native.take(name, past.source, past.system, seconds, parent=parent)
        kept = BackupSet(
            id=name, kind="incremental" if parent else "full", parent=parent, system_identifier=past.system,
            began_at=began, ended_at=datetime.now(UTC), restored_bytes=made.bytes,
            **made.model_dump(exclude={"system_identifier", "restored_bytes"}),
        )  # fmt: skip
        self.native.commit(kept)
        if made.label:  # its WAL is not in it
            past.await_arrival()
        assert self.native.verify(kept) == ""
        return kept


class Past:
    """The primary of a lab, in whose table `events` are the numbers 1 to 8, and how its repository came to be.

    1, full set F1, 2, incremental set I1, 3, full set F2, 4, 5, POINT, 6, 7, 8; a segment ends with each set, and after
    4, 5 and 6; behind that of 4 come three without a commit. The transaction of 8 is longer than a page, and the WAL
    ends with it.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.node = lab, lab.nodes["n1"]
        self.cluster = lab_blocks.cluster(lab)
        self.system = str(self.sql("SELECT system_identifier FROM pg_control_system()")[0][0])
        self.source = self.cluster.replication_conninfo("n1", "salvor_backup")
        self.ends: dict[int, int] = {}  #: where each commit ends
        self.moments: dict[int, datetime] = {}  #: a moment after it, and before the next

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.node.psql(statement)

    def commit(self, number: int, *, more: str = "''") -> None:
        self.sql(f"INSERT INTO events VALUES ({number}, {more})")
        self.ends[number] = lsn(str(self.sql("SELECT pg_current_wal_insert_lsn()")[0][0]))
        self.moments[number] = self.sql("SELECT clock_timestamp()")[0][0]

    def live(self) -> None:
        """Let the history happen."""
        self.sql("CREATE TABLE events (n int, more text)")
        self.sql("ALTER TABLE events ALTER more SET STORAGE EXTERNAL")
        self.sql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        self.pristine.native.stream(self.source, self.system)
        self.commit(1)
        self.pristine.take(F1)
        self.commit(2)
        self.pristine.take(I1, parent=F1)
        self.commit(3)
        self.pristine.take(F2)
        for number in (4, 5, 6):
            self.commit(number)
            if number == 5:
                self.sql(f"SELECT pg_create_restore_point('{POINT}')")
            self.sql("SELECT pg_switch_wal()")
            for _ in range(3 if number == 4 else 0):
                self.sql("SELECT pg_logical_emit_message(false, 'salvor', 'no commit')")
                self.sql("SELECT pg_switch_wal()")
        self.commit(7)
        self.commit(8, more="repeat('x', 60000)")
        self.await_arrival()
        self.pristine.native.unstream()  # from now on the slot is whose test wants it

    def await_arrival(self) -> None:
        """Wait until all WAL that there is now is on the repository's disk."""
        wanted = lsn(str(self.sql("SELECT pg_current_wal_flush_lsn()")[0][0]))
        query = "SELECT flush_lsn - '0/0' FROM pg_stat_replication WHERE application_name = 'salvor_backup'"

        def arrived() -> bool:
            return any(row[0] is not None and row[0] >= wanted for row in self.sql(query))

        wait_until(arrived, 20, "the WAL to arrive in the repository")

    @cached_property
    def pristine(self) -> Copy:
        return self.empty()

    def empty(self, **block: Any) -> Copy:
        """Give a repository that is not there yet."""
        return Copy(self, self._folder() / "repository", **block)

    def copy(self, *, data: bool = True, **block: Any) -> Copy:
        """Give a copy of the repository; nothing streams into it. DATA=False: nobody looks at the files of its sets."""
        path = self._folder() / "repository"
        if data:
            subprocess.run(["cp", "-al", self.pristine.path, path], check=True)
        else:
            shutil.copytree(self.pristine.path, path, ignore=shutil.ignore_patterns("data"), copy_function=os.link)
            for name in (F1, I1, F2):
                (path / "sets" / name / "data").symlink_to(self.pristine.data(name))
            subprocess.run(["chown", "-R", "-h", f"{self.lab.account.uid}:{self.lab.account.gid}", path], check=True)
        (path / "wal" / "receiver.log").unlink()
        return Copy(self, path, **block)

    def control(self, before: str = "") -> CommandControl:
        """Run scripts on the repository's host, the shell BEFORE each of them."""
        return CommandControl(template=f"{self.lab.vault / 'host'} '{before}'{{script}}")

    def scratch_node(self, folder: Path, before: str = "") -> PostgresNode:
        return PostgresNode(
            name="scratch", host="127.0.0.1", port=self.lab.spec["scratch"], data_directory=str(folder),
            bin_directory=str(self.node.bin), control=self.control(before),
        )  # fmt: skip

    def shim(self, folder: Path, program: str, text: str) -> str:
        """Let PROGRAM be another one, which may call the real one as $REAL; give the shell that puts it in place."""
        place = folder / f"shim-{program}"
        place.mkdir()
        (place / program).write_text(f"#!/bin/sh\nREAL=/bin/{program}\n{text}\n")
        (place / program).chmod(0o755)
        return f"PATH={place}:$PATH; "

    def _folder(self) -> Path:
        folder = self.lab.vault / uuid4().hex[:8]
        folder.mkdir()
        self.lab.account.own(folder)
        return folder


@contextmanager
def past() -> Iterator[Past]:
    """Bring up a lab of one node, and let its history happen."""
    with Lab(nodes=1, pooler=False, proxies=False, sync=False, fast=True) as lab:
        it = Past(lab)
        it.live()
        yield it


def replace(file: Path, content: bytes) -> None:
    """Change a file of a copy: it shares the old one with the others."""
    facts = file.stat()
    part = file.with_name("changed")
    part.write_bytes(content)
    os.chown(part, facts.st_uid, facts.st_gid)
    part.chmod(facts.st_mode)
    part.replace(file)


def flip(file: Path, offset: int) -> None:
    """Let one bit of a file be the other one."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    replace(file, bytes(content))


def truncate(file: Path, size: int) -> None:
    replace(file, file.read_bytes()[:size])


@contextmanager
def small_disk(copy: Past, folder: Path, megabytes: int) -> Iterator[Any]:
    """Give FOLDER a disk of its own that has only so much room; where nothing may be mounted, no file may be larger."""
    folder.mkdir()
    owner = f"mode=700,uid={copy.lab.account.uid},gid={copy.lab.account.gid}"
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,{owner}", "lab", str(folder)]
    mounted = subprocess.run(argv, check=False, capture_output=True).returncode == 0
    if not mounted:
        copy.lab.account.own(folder)
        copy.lab.world.ask("host", node="vault", state={"limit": str(megabytes * 1024)})

    def enlarge(more: int) -> None:
        if mounted:
            subprocess.run(["mount", "-o", f"remount,size={more}m", str(folder)], check=True)
        else:
            copy.lab.world.ask("host", node="vault", state={"limit": ""})

    try:
        yield enlarge
    finally:
        enlarge(1024)
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)
