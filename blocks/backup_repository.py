"""Where backups are kept, what is kept, and where a drill may build."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, model_validator

from blocks.addresses import AbsolutePath, Host, Port
from blocks.node_control import LocalControl, NodeControl
from blocks.pgbackrest_place import PgBackRest
from blocks.restic_place import ResticPlace
from blocks.service import Service


class BackupRepository(Block):
    """Where the backups of a cluster are kept, and what belongs to a whole set."""

    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor backup repository"
    _block_type_slug = "salvor-backup-repository"
    _description = "Where the backups of a PostgreSQL cluster are kept; give it the name of the cluster's block."

    directory: AbsolutePath = Field(
        description="Directory of the repository, on a disk that is none of the database's. Every host that is to be "
        "restored must see it under the same path (a mount)."
    )
    bin_directory: AbsolutePath = Field(
        description="Directory of pg_basebackup, pg_receivewal, ... of the database's own major version, on that host."
    )
    control: NodeControl = Field(default_factory=LocalControl)
    stream_wal: bool = Field(
        default=True,
        description="Stream WAL into the repository as it is written: what is lost with the primary is then about "
        "nothing. Off: only what the sets themselves hold can be restored.",
    )
    slot_bytes: int = Field(
        default=10 * 10**9,
        ge=0,
        description="On-call is told when a server keeps more bytes of WAL than this because they have not arrived in "
        "the repository: before that fills its disk.",
    )
    set_days: float = Field(
        default=8.0, gt=0, le=366, description="On-call is told when the newest good set is older than so many days."
    )
    drill_days: float = Field(
        default=8.0, gt=0, le=366, description="On-call is told when no drill has passed for so many days."
    )
    databases: list[str] = Field(
        default_factory=list,
        description="Databases whose rows are counted with each set; empty: all. A restore is compared with them.",
    )
    dumps: bool = Field(
        default=False,
        description="Keep a logical copy (pg_dump) of each of these databases with every set: every row is read "
        "through SQL, which sees damage that files hide, and a newer version of PostgreSQL can load it. Takes longer.",
    )
    invariants: dict[str, str] = Field(
        default_factory=dict,
        description="Queries that return one number, by name, asked of the first of these databases, e.g. "
        "`SELECT sum(cents) FROM ledger`; a restore must give the same numbers.",
    )
    files: list[AbsolutePath] = Field(
        default_factory=list,
        description="Files and folders of the application on the repository's host that are kept with each set, by "
        "restic: configuration, .env, JSON data.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis that is kept with each set, by restic, e.g. redis://127.0.0.1:6379; empty: none.",
    )
    mongo_url: SecretStr = Field(
        default=SecretStr(""),
        description="MongoDB that is kept with each set by mongodump, e.g. mongodb://backup:secret@127.0.0.1:27017/"
        "?replicaSet=rs0; empty: none. Salvor's own tests never had a real MongoDB: practise it before you rely on it.",
    )
    mongo_restore_url: SecretStr = Field(
        default=SecretStr(""),
        description="MongoDB into which backup-restore puts it back (its option `mongo`): an empty one. Nothing is "
        "dropped there; what has the same _id stays as it is, and is counted as failed.",
    )
    restic: ResticPlace = Field(
        default_factory=ResticPlace, description="Where files and Redis are kept, and a copy of the sets if wanted."
    )
    pgbackrest: PgBackRest = Field(
        default_factory=PgBackRest,
        description="pgBackRest for the files of the sets: for databases that are large, or whose sets are to be kept "
        "in S3, encrypted, or incremental before PostgreSQL 17.",
    )
    version_command: str = Field(
        default="", description="Command on the repository's host that prints the version of the application."
    )
    services: list[Service] = Field(
        default_factory=list,
        description="What uses the database, in the order in which it is started; it is stopped in the other order.",
    )
    rto_seconds: float = Field(
        default=900.0,
        gt=0,
        description="In how many seconds the service must take writes again after a disaster; a drill that needs more "
        "than half of it is a warning.",
    )

    @model_validator(mode="after")
    def _is_elsewhere(self) -> Self:
        if self.restic.offsite and f"{self.restic.repository}/".startswith(f"{self.directory}/"):
            raise ValueError(f"{self.restic.repository} is no other place than the repository: give restic another.")
        return self

    @model_validator(mode="after")
    def _has_one_engine(self) -> Self:
        if self.pgbackrest.stanza and self.restic.offsite:
            raise ValueError(
                "restic cannot copy offsite what pgBackRest holds: let pgBackRest keep it elsewhere (repo1-type), or "
                "leave its stanza empty."
            )
        if self.pgbackrest.stanza and not self.stream_wal:
            raise ValueError("A set of pgBackRest holds no WAL, and is of no use without it: turn stream_wal on.")
        return self


class Scratch(Block):
    """Where a drill may build a copy of the database, and nothing else lives."""

    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor scratch"
    _block_type_slug = "salvor-scratch"
    _description = "Where drills restore to: a folder, a port and space; give it the name of the cluster's block."

    directory: AbsolutePath = Field(description="Folder that drills may fill and empty; it must see the repository.")
    host: Host = Field(default="127.0.0.1", description="Address at which Salvor reaches a server that runs there.")
    port: Port = Field(default=54399, description="Port for that server; nobody else may use it.")
    bin_directory: AbsolutePath = Field(description="Directory of the binaries of PostgreSQL there.")
    control: NodeControl = Field(default_factory=LocalControl)
    services: list[Service] = Field(
        default_factory=list,
        description="What a drill with `services` starts against the copy, in this order, and stops again. Their "
        "commands find the copy in PGHOST and PGPORT; they must send nothing to anybody else.",
    )
    keep_free_bytes: int = Field(
        default=2**30, ge=0, description="Bytes that a drill leaves free on that disk; it does not begin otherwise."
    )

    @model_validator(mode="after")
    def _is_no_root(self) -> Self:
        if self.directory.strip("/").count("/") == 0:
            raise ValueError(f"{self.directory} is too near the root to be emptied: give a folder for drills alone.")
        if left := [each.name for each in self.services if not (each.start and each.stop)]:
            raise ValueError(f"{', '.join(left)}: a drill leaves nothing, so give the command that stops it as well.")
        return self
