"""What a sentinel writes down of a primary every second, written once, for tests without a sentinel."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.ledger import positions
from blocks.ledger.block import Ledger
from blocks.ledger.records import Position
from tests.lab.cluster import Lab

QUERY = (
    "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint, current_setting('synchronous_standby_names'),"
    " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
)


def record(ledger: Ledger, resource: str, lab: Lab, node: str = "n1") -> None:
    """Write down where NODE is and who follows it."""
    lsn, names, timeline = lab.psql(node, QUERY)[0]
    position = Position(
        resource=resource,
        node=node,
        lsn=int(lsn),
        timeline=timeline,
        synchronous_standby_names=names,
        streaming=tuple(lab.streaming(node)),
        at=datetime.now(UTC),
    )
    positions.record(ledger, position)
