"""PgBouncer: hold clients, lead them elsewhere, let them go on."""

from __future__ import annotations

import time

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from blocks.addresses import AbsolutePath, Host, Port
from blocks.errors import SalvorError
from blocks.host_file import FileChanged, HostFile
from blocks.node_control import LocalControl, NodeControl
from blocks.pgbouncer_console import Console, Line
from blocks.pgbouncer_routing import rerouted

LOGIN_SECONDS = 0.3  #: what clients that have begun to log in get to end that
_NOT_PAUSED = "is not paused"


class PooledDatabase(BaseModel):
    """One line of SHOW DATABASES."""

    model_config = ConfigDict(frozen=True)

    name: str
    host: str
    port: int
    paused: bool
    disabled: bool


class PgBouncer(Block):
    """A PgBouncer in front of a cluster, led by its admin console and its routing file."""

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor PgBouncer"
    _block_type_slug = "salvor-pgbouncer"
    _description = "A PgBouncer in front of a PostgreSQL cluster: paused, led to another server, and resumed."

    host: Host = Field(description="Host name or address of PgBouncer, or the directory of its socket.")
    port: Port = Field(default=6432, description="Port of PgBouncer.")
    user: str = Field(default="pgbouncer", min_length=1, description="A user named in admin_users of pgbouncer.ini.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of that user; empty when none is asked.")
    databases: list[str] = Field(
        min_length=1, description="Databases of this PgBouncer that live on the cluster; others are left alone."
    )
    routing_file: AbsolutePath = Field(
        description="File, included into [databases] of pgbouncer.ini by %include, that holds the lines of these "
        "databases, e.g. `orders = host=10.0.0.1 port=5432`. Salvor rewrites host and port in it."
    )
    control: NodeControl = Field(default_factory=LocalControl)

    _routing: str | None = PrivateAttr(default=None)
    _held: Console | None = PrivateAttr(default=None)

    def show_databases(self, deadline: float = 2.0) -> list[PooledDatabase]:
        """Give where every database of this PgBouncer leads, and whether it is paused or disabled."""
        return _databases(self._console().ask("SHOW DATABASES", deadline=deadline))

    def pause(self, deadline: float = 5.0) -> None:
        """Hold new queries and wait until the running transactions have ended; after a time-out call `resume`."""
        # What `route` and `resume` will need is fetched while clients do not yet wait for it.
        self._routing = self._file().read(deadline)
        self._held = self._console()
        self._held.keep(deadline)
        self._each("PAUSE", deadline)

    def resume(self, deadline: float = 5.0) -> None:
        """Let the held clients go on; nothing happens when none are held."""
        self._each("RESUME", deadline, unless=_NOT_PAUSED)
        if self._held:
            self._held.close()
            self._held = None

    def reconnect(self, deadline: float = 5.0) -> None:
        """Have every server connection replaced as soon as its transaction ends."""
        self._each("RECONNECT", deadline)

    def disable(self, deadline: float = 5.0) -> None:
        """Refuse new clients."""
        self._each("DISABLE", deadline)

    def enable(self, deadline: float = 5.0) -> None:
        """Let new clients in again."""
        self._each("ENABLE", deadline)

    def kill(self, deadline: float = 5.0) -> None:
        """Cut every client and server connection at once, and hold and refuse new ones until `resume` and `enable`.

        A client that is just logging in when its pool goes away crashes PgBouncer (its issue 1401, open as of 1.25):
        so nobody may begin to log in, and those who have begun get the time to end.
        """
        self.disable(deadline)
        until = time.monotonic() + LOGIN_SECONDS
        while self._logging_in(deadline) and time.monotonic() < until:
            time.sleep(0.005)
        self._each("KILL", deadline)

    def _logging_in(self, deadline: float) -> int:
        lists = self._console().ask("SHOW LISTS", deadline=deadline)
        return next(int(row["items"] or 0) for row in lists if row["list"] == "login_clients")

    def reload(self, deadline: float = 5.0) -> None:
        """Have PgBouncer read its configuration again."""
        self._console().tell("RELOAD", deadline=deadline)

    def route(self, host: str, port: int, deadline: float = 5.0) -> str:
        """Lead the databases to HOST and PORT, and say what PgBouncer itself then shows."""
        until = time.monotonic() + deadline
        changed = self._write_routing(host, port, deadline)
        rows = _databases(self._console().tell("RELOAD", "SHOW DATABASES", deadline=max(0.1, until - time.monotonic())))
        leads = {row.name: f"{row.host}:{row.port}" for row in rows if row.name in self.databases}
        wrong = [name for name in self.databases if leads.get(name) != f"{host}:{port}"]
        if wrong:
            shown = ", ".join(f"{name} leads to {leads.get(name, 'nowhere')}" for name in wrong)
            raise SalvorError(
                f"{self.routing_file} says {host}:{port}, but in {self._console().where} {shown}: is the file included "
                "into [databases] of its pgbouncer.ini, and is the database defined only there?"
            )
        return f"{', '.join(self.databases)} {'lead' if changed else 'already led'} to {host}:{port}"

    def _write_routing(self, host: str, port: int, deadline: float) -> bool:
        known, self._routing = self._routing, None
        try:
            return self._replace(known or self._file().read(deadline), host, port, deadline)
        except FileChanged:
            return self._replace(self._file().read(deadline), host, port, deadline)

    def _replace(self, before: str, host: str, port: int, deadline: float) -> bool:
        after = rerouted(before, self.databases, host, port)
        if after != before:
            self._file().replace(after, deadline, before=before)
        return after != before

    def _each(self, command: str, deadline: float, unless: str = "") -> None:
        commands = [f"{command} {_name(database)}" for database in self.databases]
        self._console().tell(*commands, deadline=deadline, unless=unless)

    def _file(self) -> HostFile:
        return HostFile(self.control, self.routing_file)

    def _console(self) -> Console:
        fresh = Console(self.host, self.port, self.user, self.password.get_secret_value())
        return self._held if self._held == fresh else fresh


def _name(database: str) -> str:
    return '"' + database.replace('"', '""') + '"'


def _databases(lines: list[Line]) -> list[PooledDatabase]:
    return [
        PooledDatabase(
            name=line["name"],
            host=line["host"],
            port=int(line["port"]),
            paused=line["paused"] == "1",
            disabled=line["disabled"] == "1",
        )
        for line in lines
    ]
