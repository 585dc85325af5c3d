"""Bringing a server back behind another one, from its host: copies, rewinds, and what becomes of the old directory."""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from blocks import rejoin_scripts as sh
from blocks.node_command import Completed
from blocks.node_scripts import script
from blocks.postgres_host import PostgresHost


class RejoiningHost(PostgresHost):
    """A host whose server can be made a standby again."""

    def basebackup(self, source: str, into: str, deadline: float, *, slot: str = "", create_slot: bool = False) -> None:
        """Copy the server at the conninfo SOURCE into the empty directory INTO, with a standby.signal."""
        conninfo, password = without_password(source)
        more = {"FROM": conninfo, "INTO": into, "SLOT": slot, "CREATE_SLOT": "-C" if create_slot else ""}
        done = self.control.run(self._script(sh.BASEBACKUP, **more), deadline, stdin=f"{password}\n", writes=True)
        self._proven(done, f"be copied into {into}")

    def rewind(self, source: str, deadline: float, *, restore_wal: bool = False) -> Completed:
        """Rewind to the server at the conninfo SOURCE, keeping this node's own configuration.

        That it fails is a normal branch, so the caller judges the result; standby.signal is there either way.
        """
        conninfo, password = without_password(source)
        more = {"FROM": conninfo, "CONFIG": self.config_file or "", "KEEP": f"{self.data_directory}.salvor-conf"}
        text = self._script(sh.REWIND, RESTORE="--restore-target-wal" if restore_wal else "", **more)
        return self.control.run(text, deadline, stdin=f"{password}\n", writes=True)

    def waldump(self, timeline: int, start: str, deadline: float, *, end: str = "", limit: int = 10_000) -> Completed:
        """List the commits and aborts of TIMELINE from the LSN START on, at most LIMIT of them."""
        more: dict[str, str | int] = {"TIMELINE": timeline, "START": start, "END": end, "MAX": limit}
        return self._read(sh.WALDUMP, deadline, **more)

    @property
    def copy_directory(self) -> str:
        """Where a copy of the primary grows until it takes the place of the data directory."""
        return f"{self.data_directory}.salvor-copy"

    def keep_wal(self, timeline: int, start: str, listing: str, deadline: float) -> str:
        """Copy the WAL of TIMELINE from the LSN START on, with LISTING, beside the data directory; give the place."""
        high, low = (int(part, 16) for part in start.split("/"))
        segment = 1 << (int(self.control_data(deadline)["Bytes per WAL segment"]).bit_length() - 1)
        first = f"{timeline:08X}{high:08X}{low // segment:08X}"
        place = f"{self.data_directory}.discarded-{timeline}-{high:X}-{low:X}"
        text = self._script(sh.KEEP_WAL, TIMELINE=f"{timeline:08X}", FIRST=first, SEGMENT=segment, TO=place)
        done = self.control.run(text, deadline, stdin=listing, writes=True)
        return self._proven(done, "have its WAL kept").out.strip()

    def remove_copy(self, deadline: float) -> None:
        """Remove an unfinished copy of an earlier attempt; it is nobody's data yet."""
        self._write(sh.REMOVE_COPY, deadline, "have an unfinished copy removed")

    def exchange_directory(self, deadline: float) -> str:
        """Let the finished copy take the place of the data directory, which is kept under another name."""
        return self._write(sh.EXCHANGE, deadline, "have its directory exchanged").out.strip()

    def rename_directory(self, to: str, deadline: float = 10.0, *, path: str = "") -> None:
        """Rename the data directory (or PATH) of a server that is down to TO, which must not be there yet."""
        source = path or self.data_directory
        text = script(sh.RENAME, D=source, TO=to)
        self._proven(self.control.run(text, deadline, writes=True), f"have {source} renamed")


def without_password(conninfo: str) -> tuple[str, str]:
    """Part CONNINFO from its password, which must not be seen in a list of processes."""
    parts = conninfo_to_dict(conninfo)
    password = str(parts.pop("password", None) or "")
    return make_conninfo("", **parts), password
