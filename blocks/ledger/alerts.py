"""Alerts as they came in: stored before they are acknowledged, each counted once."""

from __future__ import annotations

from datetime import UTC
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, select, update

from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.ledger.records import InboundAlert, Stored
from blocks.ledger.schema import alerts
from blocks.ledger.sql import insert_once, now


def store(ledger: Ledger, alert: InboundAlert, *, event: dict[str, object] | None = None) -> Stored:
    """Keep the alert; when it is new and EVENT is given, put that into the outbox in the same transaction."""

    def work(connection: Connection) -> Stored:
        at, identity = now(connection), identify(alert)
        seen = {"id": identity, "first_seen_at": at, "last_seen_at": at, "count": 1}
        if insert_once(connection, alerts, **alert.model_dump(), **seen):
            if event is not None:
                outbox.put(connection, "event", identity, dict(event))
            return Stored(new=True, count=1)
        again = {"count": alerts.c.count + 1, "last_seen_at": at}
        connection.execute(update(alerts).where(alerts.c.id == identity).values(again))
        count = connection.execute(select(alerts.c.count).where(alerts.c.id == identity)).scalar_one()
        return Stored(new=False, count=count)

    return ledger.write(work)


def identify(alert: InboundAlert) -> str:
    """Give the alert's identity, the same on every delivery of it."""
    parts = (alert.source, alert.fingerprint, alert.starts_at.astimezone(UTC).isoformat(), alert.status)
    return str(uuid5(NAMESPACE_URL, "\n".join(parts)))


def is_resolved(ledger: Ledger, fingerprint: str) -> bool:
    """Whether the newest thing said about this alert is that it is over."""
    with ledger.read() as connection:
        return resolved_in(connection, fingerprint)


def resolved_in(connection: Connection, fingerprint: str) -> bool:
    """As `is_resolved`, in a transaction that is open."""
    query = select(alerts.c.status, alerts.c.starts_at).where(alerts.c.fingerprint == fingerprint)
    rows = connection.execute(query).all()
    resolved = [row.starts_at for row in rows if row.status == "resolved"]
    firing = [row.starts_at for row in rows if row.status == "firing"]
    return bool(resolved) and (not firing or max(resolved) >= max(firing))
