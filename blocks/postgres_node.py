"""One PostgreSQL server and what can be done to it from its host. Primitives only: nothing here decides anything."""

from __future__ import annotations

import re
import time
from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel, ConfigDict, Field, field_validator

from blocks import node_scripts as sh
from blocks.addresses import AbsolutePath, Host, Port
from blocks.errors import Ambiguous, SalvorError, Transient
from blocks.node_control import Command, Completed, LocalControl, NodeControl, PatroniControl, spawn

_SIGNALS = {"fast": "INT", "immediate": "QUIT", "kill": "KILL"}
_LOOK_SECONDS = 0.007  # one look of the stop script: a sleep of 5 ms and what the fork costs
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class ScriptFailed(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """The host ran the script, and the script failed or refused."""

    code = 51

    def __init__(self, message: str = "", rc: int = 1) -> None:
        """Keep the exit code."""
        super().__init__(message)
        self.rc = rc


class PostgresNode(BaseModel):
    """One PostgreSQL server: where it listens, where its files are, how its host is reached."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        pattern=r"^[a-z0-9_]{1,63}$",
        description="Name of the node; also its application_name and the name of its replication slot.",
    )
    host: Host = Field(description="Host name or address where Salvor (and the poolers) reach the server.")
    port: Port = Field(default=5432, description="Port where Salvor (and the poolers) reach the server.")
    replication_host: Host | None = Field(
        default=None, description="Where the other nodes reach this server for replication; empty: the same host."
    )
    replication_port: Port | None = Field(
        default=None, description="Port where the other nodes reach this server for replication; empty: the same port."
    )
    data_directory: AbsolutePath = Field(description="Data directory of the server (SHOW data_directory).")
    bin_directory: AbsolutePath = Field(description="Directory of pg_ctl, pg_rewind, ... on that host.")
    config_file: AbsolutePath | None = Field(
        default=None, description="postgresql.conf, when it is not in the data directory (as on Debian)."
    )
    start_command: str = Field(
        default="",
        description="Command that starts the server on its host, e.g. `sudo systemctl start postgresql@18-main`; "
        "empty: pg_ctl.",
    )
    control: NodeControl = Field(default_factory=LocalControl)
    fence_command: str = Field(
        default="",
        description="Command, run where Salvor runs, that cuts the host's power or network through a cloud or a "
        "management board. It gets SALVOR_NODE and SALVOR_HOST; it reads secrets from files, not from arguments.",
    )
    fence_confirm_command: str = Field(
        default="",
        description="Command that ends with 0 only when the host is proven off; what it prints is kept as the proof.",
    )
    nofailover: bool = Field(default=False, description="Never promote this node (a reporting or delayed standby).")

    @field_validator("config_file", "replication_host", "replication_port", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @property
    def managed(self) -> bool:
        """Whether Patroni owns this node."""
        return isinstance(self.control, PatroniControl)

    def processes(self, deadline: float = 5.0) -> list[int]:
        """Give the pids of every server process that stands in the data directory, orphans included."""
        return [int(pid) for pid in self._read(sh.PROCESSES, deadline).out.split()]

    def stop(
        self, mode: Literal["fast", "immediate", "kill"], deadline: float = 10.0, *, as_standby: bool = False
    ) -> str:
        """Stop the server and give the proof: what was signalled, and `gone` when no process is left.

        AS_STANDBY leaves standby.signal behind, so that whatever starts the server again starts no primary.
        """
        looks = max(1, int(deadline / _LOOK_SECONDS))
        standby = "yes" if as_standby else "no"
        text = self._script(sh.STOP, SIGNAL=_SIGNALS[mode], LOOKS=looks, STANDBY=standby)
        done = self.control.run(text, deadline + 2.0, writes=True)
        if done.rc == sh.LEFT:
            raise Ambiguous(f"{self.name} was told to stop and did not within {deadline:g} s: {done.said}.")
        return self._proven(done, "be stopped").out.strip()

    def start(self, deadline: float = 60.0, *, as_standby: bool = False) -> list[int]:
        """Start the server and wait until it answers; AS_STANDBY refuses a directory without standby.signal."""
        text = self._script(
            sh.START,
            STANDBY="yes" if as_standby else "no",
            COMMAND=self.start_command,
            CONFIG=self.config_file or "",
            LOG=f"{self.data_directory}/salvor-start.log",
            WAIT=max(1, int(deadline)),
        )
        done = self.control.run(text, deadline + 2.0, writes=True)
        return [int(pid) for pid in self._proven(done, "be started").out.split()]

    def fence_power(self, deadline: float = 60.0) -> str:
        """Cut the host off by the fence command, then ask the confirm command until it says so; give its words."""
        until = time.monotonic() + deadline
        done = spawn(self._power(self.fence_command, "fence_command"), deadline, writes=True)
        if done.rc != 0:
            raise Ambiguous(f"The fence command of {self.name} failed ({done.said}): the host may be on or off.")
        while not (proof := self.confirm_power_off(max(0.1, until - time.monotonic()))):
            if time.monotonic() >= until:
                raise Ambiguous(f"{self.name} was told to go off, and that was not confirmed within {deadline:g} s.")
            time.sleep(0.1)
        return proof

    def confirm_power_off(self, deadline: float = 10.0) -> str:
        """Give the confirm command's words when the host is proven off, and nothing when it is not."""
        done = spawn(self._power(self.fence_confirm_command, "fence_confirm_command"), deadline)
        return (done.out.strip() or "confirmed") if done.rc == 0 else ""

    def look(self, deadline: float = 1.0) -> dict[str, str]:
        """Give what can be seen of the server from its host, in one round trip.

        That is `directory` (present, missing, unknown), `processes`, `standby.signal` when it is there, and the labels
        of pg_controldata.
        """
        return _labelled(self._read(sh.LOOK, deadline).out)

    def control_data(self, deadline: float = 5.0) -> dict[str, str]:
        """Give what pg_controldata prints, by its labels."""
        return _labelled(self._read(sh.CONTROL_DATA, deadline).out)

    def write_standby_signal(self, deadline: float = 5.0) -> None:
        """Make sure that the next start is that of a standby."""
        self._write(sh.STANDBY_SIGNAL, deadline, "get a standby.signal", WANTED="yes")

    def remove_standby_signal(self, deadline: float = 5.0) -> None:
        """Undo `write_standby_signal`."""
        self._write(sh.STANDBY_SIGNAL, deadline, "lose its standby.signal", WANTED="no")

    def has_standby_signal(self, deadline: float = 5.0) -> bool:
        """Say whether the next start is that of a standby."""
        done = self.control.run(self._script(sh.HAS_STANDBY_SIGNAL), deadline)
        return done.rc == 0 if done.rc in {0, 1} else self._proven(done, "be looked at").rc == 0

    def write_settings(self, settings: dict[str, str], deadline: float = 5.0) -> None:
        """Set them in postgresql.auto.conf of a server that is down; a running one is told by ALTER SYSTEM."""
        lines = "".join(f"{_setting(name)} = '{_quoted(value)}'\n" for name, value in settings.items())
        text = self._script(sh.SETTINGS, NAMES="|".join(re.escape(n) for n in settings), BYTES=len(lines.encode()))
        self._proven(self.control.run(text, deadline, stdin=lines, writes=True), "get its settings")

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
        text = self._script(sh.KEEP_WAL, TIMELINE=f"{timeline:08X}", FIRST=first, TO=place)
        done = self.control.run(text, deadline, stdin=listing, writes=True)
        return self._proven(done, "have its WAL kept").out.strip()

    def remove_copy(self, deadline: float) -> None:
        """Remove an unfinished copy of an earlier attempt; it is nobody's data yet."""
        self._write(sh.REMOVE_COPY, deadline, "have an unfinished copy removed")

    def exchange_directory(self, deadline: float) -> str:
        """Let the finished copy take the place of the data directory, which is kept under another name."""
        return self._write(sh.EXCHANGE, deadline, "have its directory exchanged").out.strip()

    def read_file(self, name: str, deadline: float = 5.0) -> str:
        """Give a file of the data directory, e.g. pg_wal/00000002.history."""
        return self._read(sh.READ_FILE, deadline, NAME=name).out

    def free_bytes(self, path: str = "", deadline: float = 5.0) -> int:
        """Give the free space where PATH is or would be; by default where the data directory is."""
        return int(self._read(sh.FREE_BYTES, deadline, P=path or self.data_directory).out)

    def used_bytes(self, path: str = "", deadline: float = 60.0) -> int:
        """Give the space that PATH takes; by default the data directory."""
        return int(self._read(sh.USED_BYTES, deadline, P=path or self.data_directory).out)

    def rename_directory(self, to: str, deadline: float = 10.0, *, path: str = "") -> None:
        """Rename the data directory (or PATH) of a server that is down to TO, which must not be there yet."""
        source = path or self.data_directory
        text = sh.script(sh.RENAME, D=source, TO=to)
        self._proven(self.control.run(text, deadline, writes=True), f"have {source} renamed")

    def _script(self, body: str, **values: str | int) -> str:
        return sh.script(body, D=self.data_directory, B=self.bin_directory, **values)

    def _read(self, body: str, deadline: float, **values: str | int) -> Completed:
        return self._proven(self.control.run(self._script(body, **values), deadline), "be read")

    def _write(self, body: str, deadline: float, what: str, **values: str | int) -> Completed:
        return self._proven(self.control.run(self._script(body, **values), deadline, writes=True), what)

    def _proven(self, done: Completed, what: str) -> Completed:
        if done.rc != 0:
            raise ScriptFailed(f"{self.name} could not {what}: {done.said}.", done.rc)
        return done

    def _power(self, command: str, field: str) -> Command:
        if not command:
            raise Transient(f"{self.name} has no {field}: its power cannot be cut from here.")
        env = {"SALVOR_NODE": self.name, "SALVOR_HOST": self.host}
        return Command(["/bin/sh", "-c", command], f"the {field} of {self.name}", env=env)


def without_password(conninfo: str) -> tuple[str, str]:
    """Part CONNINFO from its password, which must not be seen in a list of processes."""
    parts = conninfo_to_dict(conninfo)
    password = str(parts.pop("password", None) or "")
    return make_conninfo("", **parts), password


def _labelled(text: str) -> dict[str, str]:
    parts = (line.partition(":") for line in text.splitlines())
    return {label.strip(): value.strip() for label, _, value in parts}


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ScriptFailed(f"`{name}` is not the name of a setting.", sh.REFUSED)
    return name


def _quoted(value: str) -> str:
    if "\n" in value or "\0" in value:
        raise ScriptFailed("The value of a setting may not hold a line break.", sh.REFUSED)
    return value.replace("\\", "\\\\").replace("'", "''")
