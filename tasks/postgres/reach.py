"""Everything a procedure can touch of one cluster, loaded once: no act depends on Prefect's API any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from blocks.env_file import EnvFile
from blocks.pgbouncer import PgBouncer
from prefect.blocks.core import Block

from blocks.errors import Misconfigured
from blocks.postgres import PostgresCluster, PostgresNode
from blocks.postgres_session import Row, run_sql
from tasks import queries

SQL = queries.load(Path(__file__).with_name("queries.sql"))
#: Seconds a statement may take that is no part of a wait: a reload, a slot, a look.
PATIENCE = 5.0

B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Reach:
    """A cluster with the poolers and environment files that lead clients to it."""

    target: str
    cluster: PostgresCluster
    poolers: dict[str, PgBouncer] = field(default_factory=dict)
    env_files: dict[str, EnvFile] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """Name the thing that leases, holds and events are about."""
        return f"recovery.postgres.{self.target}"

    def node(self, name: str) -> PostgresNode:
        """Return the member called NAME."""
        return self.cluster.node(name)

    def sql(self, node: str, *statements: str, deadline: float = PATIENCE) -> list[Row]:
        """Execute STATEMENTS on NODE, each committed by itself, and give the rows of the last."""
        return run_sql(self.cluster.conninfo(node), *statements, deadline=deadline)


def reach(target: str) -> Reach:
    """Load the blocks of TARGET, or say which one is missing."""
    cluster = _load(PostgresCluster, target)
    return Reach(
        target=target,
        cluster=cluster,
        poolers={name: _load(PgBouncer, name) for name in cluster.poolers},
        env_files={name: _load(EnvFile, name) for name in cluster.env_files},
    )


def _load(kind: type[B], name: str) -> B:
    try:
        block: Any = kind.load(name)
    except ValueError as error:
        what = kind.get_block_type_slug()
        raise Misconfigured(
            f"There is no {what} block called {name}: create it under Blocks in the Prefect UI, or correct the name."
        ) from error
    return block  # type: ignore[no-any-return] - load() is typed as Self or a coroutine


def quoted(text: str) -> str:
    """Return TEXT as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def lsn(text: str) -> int:
    """Return a position such as 1/A0 in bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
