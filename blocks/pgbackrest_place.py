"""What a repository's block says of pgBackRest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from blocks.addresses import AbsolutePath


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
