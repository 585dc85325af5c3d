"""The host of one PostgreSQL server: where it is, how scripts reach it, and how its power is cut."""

from __future__ import annotations

import time

from pydantic import BaseModel, ConfigDict, Field, field_validator

from blocks.addresses import AbsolutePath, Host, Port
from blocks.errors import Ambiguous, SalvorError, Transient
from blocks.node_command import Command, Completed, spawn
from blocks.node_control import LocalControl, NodeControl, PatroniControl
from blocks.node_scripts import CONTROL_DATA, labelled, script


class ScriptFailed(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """The host ran the script, and the script failed or refused."""

    code = 51

    def __init__(self, message: str = "", rc: int = 1) -> None:
        """Keep the exit code."""
        super().__init__(message)
        self.rc = rc


class PostgresHost(BaseModel):
    """The host of one PostgreSQL server: where it listens, where its files are, how its host is reached."""

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

    def control_data(self, deadline: float = 5.0) -> dict[str, str]:
        """Give what pg_controldata prints, by its labels."""
        return labelled(self._read(CONTROL_DATA, deadline).out)

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

    def _script(self, body: str, **values: str | int) -> str:
        return script(body, D=self.data_directory, B=self.bin_directory, **values)

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
