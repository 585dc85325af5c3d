"""One PostgreSQL server and what can be done to it from its host. Primitives only: nothing here decides anything."""

from __future__ import annotations

import re
from typing import Literal

from blocks import node_scripts as sh
from blocks.errors import Ambiguous
from blocks.node_scripts import labelled
from blocks.postgres_host import ScriptFailed
from blocks.postgres_rejoin import RejoiningHost, without_password

__all__ = ["PostgresNode", "ScriptFailed", "without_password"]

_SIGNALS = {"fast": "INT", "immediate": "QUIT", "kill": "KILL"}
_LOOK_SECONDS = 0.007  # one look of the stop script: a sleep of 5 ms and what the fork costs
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class PostgresNode(RejoiningHost):
    """One PostgreSQL server: where it listens, where its files are, how its host is reached."""

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

    def look(self, deadline: float = 1.0) -> dict[str, str]:
        """Give what can be seen of the server from its host, in one round trip.

        That is `directory` (present, missing, unknown), `processes`, `standby.signal` when it is there, and the labels
        of pg_controldata.
        """
        return labelled(self._read(sh.LOOK, deadline).out)

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

    def read_file(self, name: str, deadline: float = 5.0) -> str:
        """Give a file of the data directory, e.g. pg_wal/00000002.history."""
        return self._read(sh.READ_FILE, deadline, NAME=name).out

    def free_bytes(self, path: str = "", deadline: float = 5.0) -> int:
        """Give the free space where PATH is or would be; by default where the data directory is."""
        return int(self._read(sh.FREE_BYTES, deadline, P=path or self.data_directory).out)

    def used_bytes(self, path: str = "", deadline: float = 60.0) -> int:
        """Give the space that PATH takes; by default the data directory."""
        return int(self._read(sh.USED_BYTES, deadline, P=path or self.data_directory).out)


def _setting(name: str) -> str:
    if not _SETTING.fullmatch(name):
        raise ScriptFailed(f"`{name}` is not the name of a setting.", sh.REFUSED)
    return name


def _quoted(value: str) -> str:
    if "\n" in value or "\0" in value:
        raise ScriptFailed("The value of a setting may not hold a line break.", sh.REFUSED)
    return value.replace("\\", "\\\\").replace("'", "''")
