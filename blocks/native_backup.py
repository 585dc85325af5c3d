"""Backups with the tools that come with PostgreSQL: pg_basebackup, pg_combinebackup, pg_verifybackup, pg_receivewal."""

from __future__ import annotations

import re

from blocks import backup_scripts as sh
from blocks import expiry_scripts as expiry
from blocks import stream_scripts
from blocks import wal_scripts as wal
from blocks.backup_listing import inlet, listing, sealed, wal_name
from blocks.backup_records import BackupSet, Inlet, Listing, Taken, WalProof, lsn, shown
from blocks.backup_repository import BackupRepository
from blocks.node_command import Completed
from blocks.node_scripts import REFUSED, labelled, script
from blocks.postgres_host import ScriptFailed
from blocks.postgres_rejoin import without_password
from blocks.wal_proof import proof

SEGMENT_BYTES = 16 * 2**20
SLOT = "salvor_archive"
_RANGE = re.compile(r'"Timeline": (\d+), "Start-LSN": "([^"]+)", "End-LSN": "([^"]+)"')


class NativeRepository:
    """A repository and what can be done in it. Primitives only: nothing here decides anything."""

    def __init__(self, block: BackupRepository, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Take the repository that BLOCK describes."""
        self.block = block
        self.segment_bytes = segment_bytes

    # --- looking

    def look(self, deadline: float = 60.0, *, facts_of: str = "") -> Listing:
        """List sets, WAL, free space: one round trip. What was counted is read of the set FACTS_OF only."""
        done = self._run(sh.LIST, deadline, "be read", SEGMENT=self.segment_bytes, FACTS_OF=facts_of)
        return listing(done.out, self.segment_bytes)

    def prove(
        self, timeline: int, start: int, end: int | None = None, deadline: float = 600.0, *, below: int | None = None
    ) -> WalProof:
        """Read the WAL of TIMELINE from START to END, or as far as there is any, and compare every checksum.

        BELOW: what lies in this segment and after it is not looked at, because there is a hole before it.
        """
        size = self.segment_bytes
        values: dict[str, str | int] = {
            "T": f"{timeline:08X}",
            "START": shown(start),
            "FIRST": wal_name(timeline, start, size),
            "BELOW": wal_name(timeline, below * size, size) if below is not None else "",
            "SEGMENT": size,
        }
        found, last, offset = self._read_on(values, timeline, start, end, deadline)
        if offset >= 0 and self._written_behind(values, found, (last, offset), deadline):
            # Either that is damage, or more has arrived since: then it was no damage, and the next look reads on there.
            again, _, _ = self._read_on(values, timeline, start, end, deadline)
            if again.end_lsn == found.end_lsn:
                return found.model_copy(update={"broken": f"{last} is damaged at {shown(found.end_lsn)}"})
        return found

    def locate(self, name: str, timeline: int, start: int, end: int | None, deadline: float = 600.0) -> int | None:
        """Give the position of the restore point NAME, if it was set on TIMELINE between START and END."""
        size = self.segment_bytes
        values: dict[str, str | int] = {
            "T": f"{timeline:08X}",
            "NAME": name,
            "START": shown(start),
            "END": shown(end) if end else "",
            "FIRST": wal_name(timeline, start, size),
            "BELOW": wal_name(timeline, end + size, size) if end else "",
            "SEGMENT": size,
        }
        said = self._run(wal.POINT, deadline, "be read", **values).out.strip()
        return lsn(said) if said else None

    def _read_on(
        self, values: dict[str, str | int], timeline: int, start: int, end: int | None, deadline: float
    ) -> tuple[WalProof, str, int]:
        try:
            done = self._run(wal.PROVE, deadline, "be read", **values, END=shown(end) if end else "")
        except ScriptFailed as error:
            if error.rc != REFUSED:
                raise
            none = WalProof(timeline=timeline, start_lsn=start, last_record=start, end_lsn=start, broken=str(error))
            return none, "", -1
        return proof(done.out, timeline, start, end, self.segment_bytes)

    def _written_behind(
        self, values: dict[str, str | int], found: WalProof, place: tuple[str, int], deadline: float
    ) -> bool:
        (last, offset), base = place, found.end_lsn - place[1]
        done = self._run(wal.BEHIND, deadline, "be read", **values, NAME=last, OFFSET=offset, BASE=base)
        return bool(done.out.strip())

    # --- keeping

    def clear(self, deadline: float = 60.0) -> str:
        """End and remove what a backup that died has left; only the holder of the lease may."""
        return ", ".join(self._write(sh.END + sh.CLEAR, deadline, "be cleared", SPARE="").out.splitlines())

    def take(self, name: str, source: str, system_identifier: str, deadline: float, *, parent: str = "") -> Taken:
        """Copy the server at the conninfo SOURCE into the set NAME that grows, on top of the set PARENT if given."""
        conninfo, password = without_password(source)
        done = self._write(
            sh.BASEBACKUP,
            deadline,
            "take a backup",
            stdin=f"{password}\n",
            I=name,
            FROM=conninfo,
            PARENT=parent,
            SYSTEM=system_identifier,
        )
        said = labelled(done.out)
        ranges = _RANGE.findall(said["ranges"])
        return Taken(
            system_identifier=said["Database system identifier"],
            major=int(said["pg_control version number"]) // 100,
            timeline=max(int(timeline) for timeline, _, _ in ranges),
            start_lsn=min(lsn(start) for _, start, _ in ranges),
            end_lsn=max(lsn(end) for _, _, end in ranges),
            bytes=int(said["bytes"]),
            manifest_sha256=said["manifest"],
        )

    def put(self, name: str, file: str, text: str, deadline: float = 30.0) -> None:
        """Add a file to the set NAME that grows."""
        self._write(sh.PUT, deadline, "take a file", stdin=text, I=name, NAME=file, BYTES=len(text.encode()))

    def commit(self, made: BackupSet, deadline: float = 120.0) -> None:
        """Make what has grown a set; before this there is none."""
        self.put(made.id, "facts.json", sealed(made.model_dump_json(include={"id", "facts"})) + "\n")
        text = sealed(made.model_dump_json(exclude={"facts", "bad", "verified_at", "offsite", "in_use"})) + "\n"
        more: dict[str, str | int] = {"I": made.id, "NAME": "set.json", "BYTES": len(text.encode())}
        self._write(sh.COMMIT, deadline, "keep the set", stdin=text, **more)

    def verify(self, made: BackupSet, deadline: float = 3600.0) -> str:
        """Compare every file of the set with its manifest, and write down what was found: empty when all is well."""
        values = {"I": made.id, "MANIFEST": made.manifest_sha256}
        said = self._write(sh.VERIFY, deadline, "verify a set", **values).out.strip()
        return said.removeprefix("bad: ") if said != "good" else ""

    def condemn(self, name: str, why: str, deadline: float = 10.0) -> None:
        """Write down that the set NAME must not be used."""
        self._write(sh.CONDEMN, deadline, "mark a set", I=name, WHY=why)

    def mark_offsite(self, name: str, where: str, deadline: float = 10.0) -> None:
        """Write down WHERE a copy of the set NAME is, or why there is none."""
        self._write(sh.OFFSITE, deadline, "mark a set", I=name, WHERE=" ".join(where.split()))

    # --- holding and expiring

    def use(self, names: tuple[str, ...], run: str, deadline: float = 10.0) -> None:
        """Keep the sets NAMES from expiring while RUN restores from them."""
        self._write(expiry.USE, deadline, "hold a set", SETS=" ".join(names), RUN=run)

    def unuse(self, run: str, deadline: float = 10.0) -> None:
        """Undo `use`."""
        self._write(expiry.UNUSE, deadline, "let a set go", RUN=run)

    def freeze(self, why: str, deadline: float = 10.0) -> None:
        """Let nothing expire until `thaw`."""
        self._write(expiry.FREEZE, deadline, "be frozen", WHY=why)

    def thaw(self, deadline: float = 10.0) -> None:
        """Undo `freeze`."""
        self._write(expiry.THAW, deadline, "be thawed")

    def expire(self, names: tuple[str, ...], keep_from: int | None, deadline: float = 600.0) -> str:
        """Remove the sets NAMES, in this order, and the WAL before the position KEEP_FROM; give what became of each."""
        first = wal_name(0, keep_from, self.segment_bytes)[8:] if keep_from else ""
        done = self._write(expiry.EXPIRE, deadline, "expire sets", SETS=" ".join(names), FIRST=first)
        return "; ".join(done.out.splitlines())

    # --- WAL

    def inlet(self, deadline: float = 10.0) -> Inlet:
        """Look at what streams into the repository, and where it would go on: one short round trip."""
        return inlet(self._run(stream_scripts.WATCH, deadline, "be read").out, self.segment_bytes)

    def stream(
        self,
        source: str,
        system_identifier: str,
        deadline: float = 60.0,
        *,
        anew: bool = False,
        ending: tuple[int, ...] | None = None,
    ) -> str:
        """See to it that WAL streams into the repository; ANEW: into a new folder, because the history has forked.

        ENDING: the processes that may be ended for it. When another one has been started since, it is left alone.
        Without it ANEW ends whatever runs, and otherwise a stream that runs is left alone.
        """
        conninfo, password = without_password(source)
        ended = ("any" if anew else "") if ending is None else " ".join(map(str, ending))
        values: dict[str, str | int] = {"FROM": conninfo, "SYSTEM": system_identifier, "SLOT": SLOT, "ENDING": ended}
        values |= {"ANEW": "yes" if anew else "no", "SEGMENT": self.segment_bytes}
        return self._write(stream_scripts.STREAM, deadline, "stream WAL", stdin=f"{password}\n", **values).out.strip()

    def unstream(self, deadline: float = 10.0) -> None:
        """End the process that streams."""
        self._write(stream_scripts.UNSTREAM, deadline, "end its WAL stream")

    def drop_stream(self, name: str, deadline: float = 60.0) -> None:
        """Remove a folder of WAL that was copied out of a directory which lives on."""
        self._write(stream_scripts.DROP, deadline, "let WAL go", STREAM=name)

    def app_version(self, deadline: float = 60.0) -> str:
        """Say which version of the application runs, as its command prints it; empty without one."""
        if not self.block.version_command:
            return ""
        done = self.block.control.run(self.block.version_command, deadline)
        return done.out.strip().splitlines()[0] if done.rc == 0 and done.out.strip() else ""

    # --- how

    def _script(self, body: str, values: dict[str, str | int]) -> str:
        fixed = {"R": self.block.directory, "B": self.block.bin_directory, **self.block.pgbackrest.values}
        return script(body, **fixed, **values)

    def _run(self, body: str, deadline: float, what: str, **values: str | int) -> Completed:
        return self._proven(self.block.control.run(self._script(body, values), deadline), what)

    def _write(self, body: str, deadline: float, what: str, stdin: str = "", **values: str | int) -> Completed:
        done = self.block.control.run(self._script(body, values), deadline, stdin=stdin, writes=True)
        return self._proven(done, what)

    def _proven(self, done: Completed, what: str) -> Completed:
        if done.rc != 0:
            raise ScriptFailed(f"The repository could not {what}: {done.said}.", done.rc)
        return done
