"""The lab as Salvor is told about it: the blocks that a team would fill in for its own cluster."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.blocks.core import Block

from blocks.backup_repository import BackupRepository, Scratch
from blocks.ledger.block import Ledger
from blocks.node_control import CommandControl
from blocks.pgbouncer import PgBouncer
from blocks.postgres import PostgresCluster, PostgresNode
from tests.lab.node import HOST, PASSWORD
from tests.lab.pooler import DATABASE

if TYPE_CHECKING:
    from tests.lab.cluster import Lab
    from tests.lab.node import LabNode
    from tests.lab.pooler import Pooler

UNPAID = "SELECT count(*) FROM charges c LEFT JOIN orders o USING (client, seq) WHERE o.client IS NULL"
CLUSTER, POOLER, LEDGER = "orders", "orders-pooler", "ledger"


ACTIVITY = "SELECT placed_at AS at FROM orders WHERE placed_at > now() - interval '10 minutes'"


def describe(
    lab: Lab, ledger: Path | str | None = None, *, power: bool = False, activity: bool = False
) -> list[tuple[str, Block]]:
    """Describe the lab. LEDGER: a file or URL; POWER: each host has a board that can switch it off, and prove it.

    ACTIVITY: the shop writes all the time, so that its rows tell how long it could not.
    """
    url = str(ledger or lab.root / "ledger.db")
    poolers: list[tuple[str, Block]] = [(POOLER, pooler(lab.pooler))] if lab.pooler else []
    ledgers: list[tuple[str, Block]] = [(LEDGER, Ledger(url=url if "://" in url else f"sqlite:///{url}"))]
    kept: list[tuple[str, Block]] = [(CLUSTER, repository(lab)), (CLUSTER, scratch(lab))]
    return [*poolers, (CLUSTER, cluster(lab, power=power, activity=activity)), *kept, *ledgers]


def is_real(name: str) -> bool:
    """Whether the cluster's block NAME that is saved is of servers that are no lab's."""
    try:
        known = PostgresCluster.load(name)
    except ValueError:
        return False
    return isinstance(known, PostgresCluster) and any(node.host != HOST for node in known.nodes)


def repository(lab: Lab) -> BackupRepository:
    """Describe where the backups are kept: on a host of its own."""
    return BackupRepository(
        directory=str(lab.vault / "repository"),
        bin_directory=str(next(iter(lab.nodes.values())).bin),
        control=_control(lab.vault / "host"),
        databases=["orders"],
        invariants={"charges without an order": UNPAID},
    )


def scratch(lab: Lab) -> Scratch:
    """Describe where drills may build."""
    return Scratch(
        directory=str(lab.vault / "scratch"),
        port=lab.spec["scratch"],
        bin_directory=str(next(iter(lab.nodes.values())).bin),
        control=_control(lab.vault / "host"),
        keep_free_bytes=0,
    )


def cluster(lab: Lab, *, power: bool = False, activity: bool = False) -> PostgresCluster:
    """Describe the servers."""
    return PostgresCluster(
        nodes=[_node(node, board=lab.board if power else None) for node in lab.nodes.values()],
        user="salvor",
        password=PASSWORD,
        replication_user="replicator",
        replication_password=PASSWORD,
        sync_standbys=1 if lab.sync else 0,
        poolers=[POOLER] if lab.pooler else [],
        activity_sql=ACTIVITY if activity else "",
        activity_dbname="orders" if activity else "",
    )


def pooler(lab_pooler: Pooler) -> PgBouncer:
    """Describe the pooler."""
    return PgBouncer(
        host=lab_pooler.host,
        port=lab_pooler.port,
        user="salvor",
        password=PASSWORD,
        databases=[DATABASE],
        routing_file=str(lab_pooler.routing_file),
        control=_control(lab_pooler.folder / "host"),
    )


def _control(shell: Path) -> CommandControl:
    return CommandControl(template=f"{shlex.quote(str(shell))} {{script}}")


def _node(node: LabNode, board: Path | None) -> PostgresNode:
    return PostgresNode(
        name=node.name,
        host=node.host,
        port=node.port,
        data_directory=str(node.data),
        bin_directory=str(node.bin),
        control=_control(node.host_shell),
        fence_command=f"{board} 'off {node.name}'" if board else "",
        fence_confirm_command=f"{board} 'state {node.name}'" if board else "",
    )
