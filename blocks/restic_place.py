"""What a repository's block says of restic."""

from __future__ import annotations

import re
import shlex
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


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
