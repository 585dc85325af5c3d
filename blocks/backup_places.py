"""What stands beside a repository: who uses the database, and the places where restic and pgBackRest keep things."""

from __future__ import annotations

import re
import shlex
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from blocks.addresses import AbsolutePath
from blocks.node_control import LocalControl, NodeControl


class Service(BaseModel):
    """Something that uses the database: it is stopped before a restore and started after it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=63, description="Name of the service, for sentences.")
    control: NodeControl = Field(default_factory=LocalControl)
    stop: str = Field(default="", description="Command that stops it; empty: it is left running, and its pooler held.")
    start: str = Field(
        default="",
        description="Command that starts it, and then ends; it does nothing when it runs, e.g. `systemctl start shop`.",
    )
    healthy: str = Field(
        default="",
        description="Command that ends with 0 when it works, e.g. `curl -fsS http://127.0.0.1:8000/health`; the next "
        "service is started only then.",
    )
    healthy_seconds: int = Field(default=60, ge=1, le=3600, description="How many seconds it is given to work.")

    @model_validator(mode="after")
    def _comes_back(self) -> Self:
        if self.stop and not self.start:
            raise ValueError(f"{self.name} would stay stopped: give the command that starts it, or none that stops it.")
        return self


class ResticPlace(BaseModel):
    """Where restic keeps, encrypted, what is no database; and copies of the sets."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    repository: str = Field(
        default="",
        description="Where restic keeps files and Redis: a folder such as /mnt/vault/files, sftp:user@host:/folder, or "
        "s3:https://host/bucket, as seen from the repository's host; empty: neither is kept. No password belongs here.",
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        description="Password that it is encrypted with. Nothing can be restored without it: keep it elsewhere, too.",
    )
    environment: SecretStr = Field(
        default=SecretStr(""),
        description="What the place asks for, as NAME=value with blanks between, e.g. `AWS_ACCESS_KEY_ID=... "
        "AWS_SECRET_ACCESS_KEY=...`.",
    )
    options: list[str] = Field(
        default_factory=list,
        description="More -o options of restic, e.g. `sftp.command=ssh -i /etc/salvor/key user@host -s sftp`.",
    )
    offsite: bool = Field(
        default=False,
        description="Copy every set and all WAL there as well, so that the repository itself may be lost.",
    )

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if self.repository and len(self.password.get_secret_value().splitlines()) != 1:
            raise ValueError("restic encrypts what it keeps: give its repository a password, of one line.")
        if re.search(r"://[^/]*:[^/]*@", self.repository):
            raise ValueError("There is a password in the address of restic's repository: put it into environment.")
        if not all(re.fullmatch(r"[A-Za-z_]\w*=.*", pair) for pair in self.pairs):
            raise ValueError("environment is to hold NAME=value, with blanks between; quote a value that has blanks.")
        return self

    @property
    def pairs(self) -> list[str]:
        """Give the environment, one NAME=value each."""
        return shlex.split(self.environment.get_secret_value())


class PgBackRest(BaseModel):
    """pgBackRest in the place of pg_basebackup: it holds the files of the sets, in a repository of its own."""

    model_config = ConfigDict(extra="forbid")

    stanza: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$|^$",
        description="Stanza of pgBackRest that takes the next set; empty: pg_basebackup does. Nobody else may use it. "
        "Its configuration is yours (repo1-path or repo1-s3-..., pg1-path or pg1-host, encryption, process-max), on "
        "the repository's host and on every host that is to be restored. Leave repo1-retention-full out: Salvor lets "
        "sets go. The servers need no archive_mode, for WAL is streamed into this repository as ever.",
    )
    config: AbsolutePath | None = Field(
        default=None, description="pgbackrest.conf on those hosts; empty: where pgBackRest looks for it itself."
    )
    program: str = Field(
        default="pgbackrest", min_length=1, description="pgBackRest's program on those hosts, by name or with its path."
    )

    @field_validator("config", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @property
    def values(self) -> dict[str, str]:
        """Give what its scripts need to know."""
        return {"STANZA": self.stanza, "CONFIG": self.config or "", "PROGRAM": self.program}
