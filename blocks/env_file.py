"""A file of environment variables that tells an application where its database is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, field_validator

from blocks.addresses import AbsolutePath
from blocks.database_url import address_in, pointed
from blocks.errors import Ambiguous, Misconfigured, SalvorError
from blocks.host_file import HostFile
from blocks.node_control import LocalControl, NodeControl
from blocks.node_scripts import script
from blocks.postgres_refusal import without_secrets

# Only the marks that were there before: one that is made meanwhile asks for a restart of its own.
_RESTART = """
set -- "$MARKS"*
sh -c "$COMMAND" </dev/null >&2 && rm -f "$@"
"""
_RESTORE = """
kept=$(ls -1 "$F".salvor-[0-9]*[0-9] 2>/dev/null | tail -n 1)
[ -n "$kept" ] || refuse "there is no kept copy of $F"
cat "$kept"
"""


class Led(NamedTuple):
    """Where the file leads, and whether the application has not been restarted since it was written."""

    address: str
    restart_owed: bool


class EnvFile(Block):
    """A .env file whose variable leads an application to the database, and the command that makes it read the file.

    Until that command has succeeded, a mark beside the file says so: when a run is killed in between, the next one sees
    that the application is not led over yet, and restarts it.
    """

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor environment file"
    _block_type_slug = "salvor-env-file"
    _description = "A file of environment variables (DATABASE_URL) that is led to another server, then a restart."

    path: AbsolutePath = Field(description="The file, e.g. /srv/app/.env; it must be there.")
    variable: str = Field(
        default="DATABASE_URL",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Variable that holds the database URL, e.g. postgresql://user:password@host:5432/orders.",
    )
    control: NodeControl = Field(default_factory=LocalControl)
    restart_command: str = Field(
        default="",
        description="Command, run on that host, after which the application uses the new value, e.g. "
        "`sudo systemctl restart orders`; empty: none is needed.",
    )
    restart_deadline_seconds: float = Field(
        default=30, gt=0, le=600, description="Seconds the restart command may take."
    )

    @field_validator("control")
    @classmethod
    def _runs_scripts(cls, control: NodeControl) -> NodeControl:
        if control.kind == "patroni":
            raise ValueError("Patroni cannot write this file: control must be local, ssh or command.")
        return control

    def points_to(self, deadline: float = 2.0) -> Led:
        """Give the host and port that the variable names, and whether the application still has to be told."""
        text, owed = self._look(deadline)
        return Led(address_in(text, self.variable), owed)

    def point_to(self, host: str, port: int, deadline: float = 5.0) -> str:
        """Lead the application to HOST and PORT; a copy of the file stays beside it. Then restart."""
        before, owed = self._look(deadline)
        after = pointed(before, self.variable, host, port)
        if after == before:
            if not owed:
                return f"{self.path} already led to {host}:{port}"
            self.restart()
            return f"{self.path} already led to {host}:{port}; the restart that was still owed is done"
        keep = f"{self.path}.salvor-{_now()}"
        self._file().replace(after, deadline, before=before, keep=keep, mark=self._mark())
        self.restart()
        return f"{self.path} leads to {host}:{port}; the old one is kept as {keep}"

    def undo(self, deadline: float = 5.0) -> str:
        """Put the newest kept copy back, then restart."""
        found = self.control.run(script(_RESTORE, F=self.path), deadline)
        if found.rc != 0:
            raise Misconfigured(f"{self.path} cannot be put back: {found.said}.")
        before, owed = self._look(deadline)
        if found.out == before and not owed:
            return f"{self.path} was as before"
        if found.out != before:
            self._file().replace(found.out, deadline, before=before, mark=self._mark())
        self.restart()
        return f"{self.path} is as before"

    def restart(self) -> None:
        """Run the restart command, if there is one; when it fails, it is still owed, and the next run repeats it."""
        if self.restart_command and (how := self._failure()):
            raise Ambiguous(
                f"{self.path} was written, but its restart command {how}: the application may still use the old "
                "address. Mend the command or its host, then run this again: it restarts the application."
            )

    def _failure(self) -> str:
        started, limit = time.monotonic(), self.restart_deadline_seconds
        body = script(_RESTART, COMMAND=self.restart_command, MARKS=self._marks)
        try:
            done = self.control.run(body, limit, writes=True)
        except Ambiguous:
            return f"did not end within {limit:g} s, or its host was lost meanwhile"
        except SalvorError as error:
            return f"could not be run ({error})"
        took = f"{time.monotonic() - started:.1f} s"
        return f"failed after {took} ({without_secrets(done.said)})" if done.rc != 0 else ""

    def _look(self, deadline: float) -> tuple[str, bool]:
        text, marked = self._file().read_marked(deadline, self._marks)
        return text, marked and bool(self.restart_command)

    @property
    def _marks(self) -> str:
        return f"{self.path}.salvor-restart-"

    def _mark(self) -> str:
        return f"{self._marks}{_now()}" if self.restart_command else ""

    def _file(self) -> HostFile:
        return HostFile(self.control, self.path)


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
