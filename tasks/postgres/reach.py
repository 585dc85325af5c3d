"""Everything a procedure can touch of one cluster, loaded once: no act depends on Prefect's API any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from blocks.env_file import EnvFile
from blocks.filled_in import loaded
from blocks.node_control import PatroniControl
from blocks.patroni import Patroni
from blocks.pgbouncer import PgBouncer
from blocks.postgres import PostgresCluster, PostgresNode
from blocks.postgres_session import Row, run_sql
from tasks import queries

SQL = queries.load(Path(__file__).with_name("queries.sql"))
#: Seconds a statement may take that is no part of a wait: a reload, a slot, a look.
PATIENCE = 5.0


@dataclass(frozen=True)
class Reach:
    """A cluster with the poolers and environment files that lead clients to it."""

    target: str
    cluster: PostgresCluster
    poolers: dict[str, PgBouncer] = field(default_factory=dict)
    env_files: dict[str, EnvFile] = field(default_factory=dict)
    patroni: tuple[Patroni, ...] = ()  #: every member's, where Patroni manages the cluster

    @property
    def resource(self) -> str:
        """Name the thing that leases, holds and events are about."""
        return f"recovery.postgres.{self.target}"

    @property
    def databases(self) -> tuple[str, ...]:
        """Name the applications' databases that live on it."""
        return tuple(self.cluster.databases)

    def node(self, name: str) -> PostgresNode:
        """Return the member called NAME."""
        return self.cluster.node(name)

    def sql(
        self, node: str, *statements: str, deadline: float = PATIENCE, dbname: str = "", unlogged: bool = False
    ) -> list[Row]:
        """Execute STATEMENTS on NODE, each committed by itself, and give the rows of the last.

        UNLOGGED keeps them out of the server's log.
        """
        conninfo = self.cluster.conninfo(node, dbname or None)
        return run_sql(conninfo, *statements, deadline=deadline, unlogged=unlogged)


def reach(target: str) -> Reach:
    """Load the blocks of TARGET, or say which one is missing."""
    cluster = loaded(PostgresCluster, target)
    return Reach(
        target=target,
        cluster=cluster,
        poolers={name: loaded(PgBouncer, name) for name in cluster.poolers},
        env_files={name: loaded(EnvFile, name) for name in cluster.env_files},
        patroni=tuple(Patroni.of(n.control) for n in cluster.nodes if isinstance(n.control, PatroniControl)),
    )


def quoted(text: str) -> str:
    """Return TEXT as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def lsn(text: str) -> int:
    """Return a position such as 1/A0 in bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
