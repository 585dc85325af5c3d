"""What must reach another system and may have to wait: it is kept until it was delivered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, delete, select, update

from blocks.ledger.block import Ledger
from blocks.ledger.records import Parcel
from blocks.ledger.schema import outbox
from blocks.ledger.sql import insert_once, now

Kind = Literal["event", "notification", "run"]
#: While one process delivers a parcel, no other takes it up for so long.
HANDS_OFF_SECONDS = 30
#: Later attempts wait twice as long each, up to this.
BACKOFF_SECONDS = 300


def put(where: Connection | Ledger, kind: Kind, key: str, payload: dict[str, Any]) -> bool:
    """Keep a parcel until it is delivered, in the caller's transaction if it has one; False if it was there."""
    if isinstance(where, Ledger):
        return where.write(lambda connection: put(connection, kind, key, payload))
    at = now(where)
    return insert_once(where, outbox, kind=kind, key=key, payload=payload, created_at=at, due_at=at)


def due(ledger: Ledger, *, limit: int = 20, kinds: tuple[Kind, ...] = ()) -> list[Parcel]:
    """Take up parcels whose time has come; what is not reported as sent comes again."""
    if not _waiting(ledger, kinds):
        return []

    def work(connection: Connection) -> list[Parcel]:
        at = now(connection)
        rows = connection.execute(_due(at, kinds).limit(limit).with_for_update(skip_locked=True)).all()
        values = {"due_at": at + timedelta(seconds=HANDS_OFF_SECONDS), "attempts": outbox.c.attempts + 1}
        connection.execute(update(outbox).where(outbox.c.id.in_([row.id for row in rows])).values(values))
        return [_parcel(row) for row in rows]

    return ledger.write(work)


def _waiting(ledger: Ledger, kinds: tuple[Kind, ...]) -> bool:
    # Looking costs no write lock: this is asked once a second for ever.
    with ledger.read() as connection:
        return connection.execute(_due(now(connection), kinds).limit(1)).first() is not None


def _due(at: datetime, kinds: tuple[Kind, ...]) -> Select[Any]:
    query = select(outbox).where(outbox.c.sent_at.is_(None), outbox.c.due_at <= at).order_by(outbox.c.id)
    return query.where(outbox.c.kind.in_(kinds)) if kinds else query


def _parcel(row: Row[Any]) -> Parcel:
    fields = {name: getattr(row, name) for name in Parcel.model_fields}
    return Parcel(**fields | {"attempts": row.attempts + 1})


def sent(ledger: Ledger, parcel_id: int, note: str = "") -> None:
    """Remember that it was delivered."""
    ledger.write(
        lambda connection: connection.execute(
            update(outbox).where(outbox.c.id == parcel_id).values(sent_at=now(connection), last_error=note)
        )
    )


def failed(ledger: Ledger, parcel_id: int, error: str) -> None:
    """Remember why it was not delivered, and try again later: after 1, 2, 4 … seconds."""

    def work(connection: Connection) -> None:
        attempts = connection.execute(select(outbox.c.attempts).where(outbox.c.id == parcel_id)).scalar_one()
        wait = min(BACKOFF_SECONDS, 2.0 ** max(0, attempts - 1))
        values = {"due_at": now(connection) + timedelta(seconds=wait), "last_error": error[:2000]}
        connection.execute(update(outbox).where(outbox.c.id == parcel_id).values(values))

    ledger.write(work)


def undelivered(ledger: Ledger) -> list[Parcel]:
    """List what has not been delivered yet, oldest first."""
    query = select(outbox).where(outbox.c.sent_at.is_(None)).order_by(outbox.c.id)
    with ledger.read() as connection:
        fields = Parcel.model_fields
        return [Parcel(**{name: getattr(row, name) for name in fields}) for row in connection.execute(query)]


def prune(ledger: Ledger, days: int = 30) -> int:
    """Forget what was delivered long ago."""

    def work(connection: Connection) -> int:
        old = now(connection) - timedelta(days=days)
        return connection.execute(delete(outbox).where(outbox.c.sent_at < old)).rowcount

    return ledger.write(work)
