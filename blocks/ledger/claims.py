"""Who announces an event, when several sentinels saw it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, select

from blocks.ledger.block import Ledger
from blocks.ledger.schema import claims
from blocks.ledger.sql import insert_once, now


def claim_event(ledger: Ledger, key: str, by: str) -> bool:
    """Be the one who announces KEY; the first claimer wins, and is told so again if it asks again."""

    def work(connection: Connection) -> bool:
        insert_once(connection, claims, key=key, by=by, at=now(connection))
        winner = connection.execute(select(claims.c.by).where(claims.c.key == key)).scalar_one()
        return bool(winner == by)

    return ledger.write(work)


def prune(ledger: Ledger, days: int = 30) -> int:
    """Forget old claims."""

    def work(connection: Connection) -> int:
        old = now(connection) - timedelta(days=days)
        return connection.execute(delete(claims).where(claims.c.at < old)).rowcount

    return ledger.write(work)
