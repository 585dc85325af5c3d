"""A file of environment variables that tells an application where its database is."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, field_validator

from blocks.addresses import AbsolutePath
from blocks.errors import Ambiguous, Misconfigured
from blocks.host_file import HostFile
from blocks.node_control import LocalControl, NodeControl
from blocks.node_scripts import script

_RESTART = 'sh -c "$COMMAND" </dev/null >&2\n'
_RESTORE = """
kept=$(ls -1 "$F".salvor-* 2>/dev/null | tail -n 1)
[ -n "$kept" ] || refuse "there is no kept copy of $F"
cat "$kept"
"""


class EnvFile(Block):
    """A .env file whose variable leads an application to the database, and the command that makes it read the file."""

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

    def points_to(self, deadline: float = 2.0) -> str:
        """Give the host and port that the variable names."""
        return address_in(self._file().read(deadline), self.variable)

    def point_to(self, host: str, port: int, deadline: float = 5.0) -> str:
        """Lead the application to HOST and PORT; a copy of the file stays beside it. Then restart."""
        before = self._file().read(deadline)
        after = pointed(before, self.variable, host, port)
        if after == before:
            return f"{self.path} already led to {host}:{port}"
        keep = f"{self.path}.salvor-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        self._file().replace(after, deadline, before=before, keep=keep)
        self.restart()
        return f"{self.path} leads to {host}:{port}; the old one is kept as {keep}"

    def undo(self, deadline: float = 5.0) -> str:
        """Put the newest kept copy back, then restart."""
        found = self.control.run(script(_RESTORE, F=self.path), deadline)
        if found.rc != 0:
            raise Misconfigured(f"{self.path} cannot be put back: {found.said}.")
        before = self._file().read(deadline)
        if found.out == before:
            return f"{self.path} was as before"
        self._file().replace(found.out, deadline, before=before)
        self.restart()
        return f"{self.path} is as before"

    def restart(self) -> None:
        """Run the restart command, if there is one."""
        if not self.restart_command:
            return
        started = time.monotonic()
        limit = self.restart_deadline_seconds
        done = self.control.run(script(_RESTART, COMMAND=self.restart_command), limit, writes=True)
        if done.rc != 0:
            took = f"{time.monotonic() - started:.1f} s"
            raise Ambiguous(
                f"{self.path} was written, but its restart command failed after {took} ({done.said}): "
                "the application may still use the old address. Run it by hand."
            )

    def _file(self) -> HostFile:
        return HostFile(self.control, self.path)


def pointed(text: str, variable: str, host: str, port: int) -> str:
    """Put HOST and PORT into the URL of VARIABLE; every other character of TEXT stays."""
    place = _place(text, variable)
    old = place["value"]
    url = _url(old, variable)
    user, at, _ = url.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    new = url._replace(netloc=f"{user}{at}{name}:{port}").geturl()
    return f"{text[: place.start('value')]}{new}{text[place.end('value') :]}"


def address_in(text: str, variable: str) -> str:
    """Give host:port of the URL of VARIABLE."""
    url = _url(_place(text, variable)["value"], variable)
    return f"{url.hostname}:{url.port or 5432}"


def _place(text: str, variable: str) -> re.Match[str]:
    pattern = rf"""^[ \t]*(?:export[ \t]+)?{variable}[ \t]*=[ \t]*(["']?)(?P<value>[^"'\s]*)\1"""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        number = "no line" if not found else f"{len(found)} lines"
        raise Misconfigured(f"The file has {number} for {variable}: exactly one must say where the database is.")
    return found[0]


def _url(value: str, variable: str) -> SplitResult:
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise Misconfigured(f"{variable} holds no URL that can be understood: correct the file.") from None
    if "postgres" not in url.scheme or not url.hostname:
        raise Misconfigured(f"{variable} holds no postgresql:// URL with a host: correct the file or the block.")
    return url
