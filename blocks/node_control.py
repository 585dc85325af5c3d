"""How Salvor runs a small script on a host: here, by ssh, or through whatever command reaches it.

A script never holds a secret: it is visible in the list of processes. What is secret, and whole files,
are fed to its standard input.
"""

from __future__ import annotations

import os
import pwd
import shlex
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    SecretStr,
    field_serializer,
    field_validator,
)

from blocks.addresses import HttpUrl, Port
from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.node_command import Command, Completed, spawn

# Printed by every script before its first command: without it an exit code of 255 means that the
# host was not reached and nothing was done, with it that the connection was lost on the way.
BEGUN = "salvor-begun"
UNREACHED = 255
NO_SHELL = (126, 127)


class _Control(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def where(self) -> str:
        """Name the host for a sentence."""
        raise NotImplementedError

    def argv(self, script: str, deadline_seconds: float) -> list[str]:
        """Give the command that runs SCRIPT there."""
        raise NotImplementedError

    def identity(self) -> dict[str, object]:
        """Say as which user of this machine the command is started."""
        return {}

    def run(self, script: str, deadline_seconds: float, *, stdin: str = "", writes: bool = False) -> Completed:
        """Run SCRIPT there with STDIN; past the deadline a reading script is Transient, a writing one Ambiguous."""
        argv = self.argv(f"echo {BEGUN} >&2\n{script}", deadline_seconds)
        command = Command(argv, self.where(), stdin, identity=self.identity())
        done = spawn(command, deadline_seconds, writes=writes)
        begun, err = BEGUN in done.err, done.err.replace(f"{BEGUN}\n", "", 1)
        result = Completed(rc=done.rc, out=done.out, err=err)
        if begun and done.rc == UNREACHED:
            lost = f"The connection to {self.where()} was lost while a script ran there ({result.said})."
            raise Ambiguous(f"{lost} It may have happened.") if writes else Transient(f"{lost} Nothing was changed.")
        if not begun and done.rc in NO_SHELL:
            raise Misconfigured(f"{self.where()} cannot run a script: {result.said}.")
        if not begun:
            raise Transient(f"{self.where()} was not reached, nothing was done there: {result.said}.")
        return result


class LocalControl(_Control):
    """The database runs on this machine."""

    kind: Literal["local"] = "local"
    run_as: str = Field(
        default="", description="Operating-system user that owns the database; empty: the user Salvor runs as."
    )

    def where(self) -> str:
        """Name this machine."""
        return "this machine"

    def argv(self, script: str, deadline_seconds: float) -> list[str]:  # noqa: ARG002
        """Give a plain shell."""
        return ["/bin/sh", "-c", script]

    def identity(self) -> dict[str, object]:
        """Become the database's user, which only root can."""
        if not self.run_as:
            return {}
        try:
            user = pwd.getpwnam(self.run_as)
        except KeyError:
            raise Misconfigured(f"This machine has no user `{self.run_as}`: correct run_as of the node.") from None
        if user.pw_uid == os.geteuid():
            return {}
        if os.geteuid() != 0:
            raise Misconfigured(f"Only root can become `{self.run_as}`: run Salvor as that user, or use ssh control.")
        groups = os.getgrouplist(user.pw_name, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


class SshControl(_Control):
    """The database runs on a host that the OpenSSH client of this machine reaches without a question."""

    kind: Literal["ssh"] = "ssh"
    destination: str = Field(
        description="Where ssh goes: user@host of the user that owns the database, or a Host alias."
    )
    port: Port | None = Field(default=None, description="Port of sshd; empty: what ssh's own configuration says.")
    identity_file: str = Field(default="", description="Private key file; empty: what ssh's own configuration says.")
    options: list[str] = Field(
        default_factory=list,
        description="More -o options, e.g. StrictHostKeyChecking=yes, or ControlMaster=auto to save handshakes.",
    )

    @field_validator("destination")
    @classmethod
    def _is_no_option(cls, text: str) -> str:
        if not text or text.startswith("-") or any(c.isspace() for c in text):
            raise ValueError(f"`{text}` is not a destination of ssh: give user@host or an alias.")
        return text

    def where(self) -> str:
        """Name the host as ssh does."""
        return self.destination

    def argv(self, script: str, deadline_seconds: float) -> list[str]:
        """Give an ssh command that asks nothing and notices a dead host before the deadline."""
        connect = max(1, int(deadline_seconds) - 1)
        fixed = ["BatchMode=yes", f"ConnectTimeout={connect}", "ServerAliveInterval=1", "ServerAliveCountMax=3"]
        argv = ["ssh", "-T"]
        for option in (*self.options, *fixed):  # ssh keeps the first value it is given
            argv += ["-o", option]
        if self.port:
            argv += ["-p", str(self.port)]
        if self.identity_file:
            argv += ["-i", self.identity_file]
        return [*argv, "--", self.destination, f"exec /bin/sh -c {shlex.quote(script)}"]


class CommandControl(_Control):
    """The database runs where a command of yours can run a script: kubectl exec, docker exec, an agent."""

    kind: Literal["command"] = "command"
    template: str = Field(
        description="Command with {script} in it, e.g. `docker exec -i -u postgres db1 sh -c {script}`; the script "
        "arrives there as one quoted word. It must pass on standard input and the exit code."
    )

    @field_validator("template")
    @classmethod
    def _has_its_place(cls, text: str) -> str:
        if text.count("{script}") != 1:
            raise ValueError("The template must hold {script} exactly once, where the script goes as one word.")
        return text

    def where(self) -> str:
        """Name the host by the command's first words."""
        return f"the host behind `{self.template.split('{script}')[0].strip()}`"

    def argv(self, script: str, deadline_seconds: float) -> list[str]:  # noqa: ARG002
        """Put the script into its place."""
        return ["/bin/sh", "-c", self.template.replace("{script}", shlex.quote(script))]


class PatroniControl(_Control):
    """The database belongs to Patroni: Salvor talks to Patroni and runs nothing on the host."""

    kind: Literal["patroni"] = "patroni"
    url: HttpUrl = Field(description="Address of this node's Patroni REST API, e.g. http://db1:8008.")
    username: str = Field(default="", description="User of restapi.authentication; empty when none is asked.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of that user.")
    ca_file: str = Field(
        default="", description="Certificate authority of an https address; empty: those of the system."
    )

    @field_serializer("password")
    def _shown_to_prefect(self, value: SecretStr, info: FieldSerializationInfo) -> SecretStr | str:
        # Prefect would put it in afterwards, and by that confuse the nodes of a list with each other: it remembers
        # what it has visited by addresses of objects that it has already let go (visit_collection, 3.8.8).
        return value.get_secret_value() if (info.context or {}).get("include_secrets") else value

    def where(self) -> str:
        """Name the node's Patroni."""
        return f"Patroni at {self.url}"

    def run(self, script: str, deadline_seconds: float, *, stdin: str = "", writes: bool = False) -> Completed:  # noqa: ARG002
        """Refuse: nothing is done behind Patroni's back."""
        raise Misconfigured(f"{self.where()} owns this node: ask Patroni, or give the node another control.")


NodeControl = Annotated[
    LocalControl | SshControl | CommandControl | PatroniControl,
    Field(discriminator="kind", description="How Salvor runs commands on the host: local, ssh, command, or patroni."),
]
