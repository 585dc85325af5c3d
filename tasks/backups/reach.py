"""Everything a backup procedure can touch, loaded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from blocks.backup_repository import BackupRepository, Scratch
from blocks.env_file import EnvFile
from blocks.errors import Transient
from blocks.filled_in import loaded
from blocks.kept_files import HostFiles
from blocks.native_backup import NativeRepository
from blocks.pgbackrest import PgBackRestRepository
from blocks.pgbouncer import PgBouncer
from blocks.postgres import PostgresCluster, PostgresNode
from blocks.postgres_session import Row, ask, finish, read_only, run_sql, whoever_writes
from blocks.restic import Restic
from blocks.restoring import Restoring
from blocks.service import Service
from tasks import queries
from tasks.backups import serving

SQL = queries.load(Path(__file__).with_name("queries.sql"))
#: Seconds a statement may take that is no part of a wait.
PATIENCE = 5.0
SCRATCH = "scratch"
#: What the WAL stream calls itself, for synchronous_standby_names.
ARCHIVE = "salvor_archive"


@dataclass(frozen=True)
class Reach:
    """A cluster with its repository, and what leads clients to it."""

    target: str
    cluster: PostgresCluster
    block: BackupRepository
    scratch: Scratch | None = None
    poolers: dict[str, PgBouncer] = field(default_factory=dict)
    env_files: dict[str, EnvFile] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """Name the cluster, as leases and holds do: who restores it keeps everybody else from moving it."""
        return f"recovery.postgres.{self.target}"

    @property
    def repository(self) -> NativeRepository:
        """Give the repository with the tools that take its next set."""
        return PgBackRestRepository(self.block) if self.block.pgbackrest.stanza else NativeRepository(self.block)

    @property
    def restic(self) -> Restic | None:
        """Give restic's place for files and copies; None when the block names none."""
        place = self.block.restic
        return Restic(place, self.block.control, self.target) if place.repository else None

    @property
    def host_files(self) -> HostFiles:
        """Give the files of the repository's host."""
        return HostFiles(self.block.control, self.block.restic.password.get_secret_value())

    @property
    def databases(self) -> tuple[str, ...]:
        """Name the applications' databases that live on the cluster."""
        return tuple(self.cluster.databases)

    def node(self, name: str) -> PostgresNode:
        """Give a node of the cluster, or the server in the scratch folder."""
        if name != SCRATCH or self.scratch is None:
            return self.cluster.node(name)
        return PostgresNode(
            name=SCRATCH,
            host=self.scratch.host,
            port=self.scratch.port,
            data_directory=f"{self.scratch.directory}/{self.target}",
            bin_directory=self.scratch.bin_directory,
            control=self.scratch.control,
        )

    def restoring(self, name: str) -> Restoring:
        """Say where a set becomes a server: beside a node's directory, or in the scratch folder itself."""
        node = self.node(name)
        beside = node.data_directory if name == SCRATCH else f"{node.data_directory}.salvor-restore"
        return Restoring(node, self.block.directory, beside, self.block.pgbackrest)

    @property
    def services(self) -> list[Service]:
        """Give what a drill starts against the copy."""
        return serving.facing(self.scratch.services, self.scratch.host, self.scratch.port) if self.scratch else []

    def conninfo(self, name: str, dbname: str = "") -> str:
        """Give the address of a node, or of the scratch server, for Salvor."""
        if name != SCRATCH:
            return self.cluster.conninfo(name, dbname or None)
        whole = self.cluster.model_copy(update={"nodes": [self.node(SCRATCH)], "sslmode": "prefer"})
        return whole.conninfo(SCRATCH, dbname or None)

    def sql(self, name: str, *statements: str, deadline: float = PATIENCE, dbname: str = "") -> list[Row]:
        """Execute STATEMENTS one by one and give the rows of the last."""
        return run_sql(self.conninfo(name, dbname), *statements, deadline=deadline)

    def ask(self, name: str, question: str, deadline: float = PATIENCE, dbname: str = "") -> list[Row]:
        """Read with QUESTION, in a session that cannot write; raise Transient when there is no answer."""
        answer = finish(ask(read_only(self.conninfo(name, dbname)), question, deadline))
        if not answer.ok:
            raise Transient(answer.problem)
        return answer.rows

    def source(self, name: str) -> str:
        """Say how the repository's tools log in to a node."""
        return self.cluster.replication_conninfo(name, "salvor_backup")

    def sources(self) -> str:
        """Say how the WAL stream finds whoever is the primary, also after a failover.

        It has a name of its own: a backup that runs receives WAL too, and where commits wait for the archive it must
        not confirm them, because a backup that dies is removed.
        """
        return whoever_writes([self.cluster.replication_conninfo(n.name, ARCHIVE) for n in self.cluster.nodes])


def quoted(text: str) -> str:
    """Return TEXT as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def reach(target: str) -> Reach:
    """Load the blocks of TARGET, or say which one is missing."""
    cluster = loaded(PostgresCluster, target)
    return Reach(
        target=target,
        cluster=cluster,
        block=loaded(BackupRepository, target),
        poolers={name: loaded(PgBouncer, name) for name in cluster.poolers},
        env_files={name: loaded(EnvFile, name) for name in cluster.env_files},
    )


def reach_scratch(target: str) -> Reach:
    """Load what a drill needs; nothing that leads clients anywhere."""
    return Reach(
        target=target,
        cluster=loaded(PostgresCluster, target),
        block=loaded(BackupRepository, target),
        scratch=loaded(Scratch, target),
    )
