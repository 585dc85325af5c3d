"""What the receiver and the sentinel ask of the ledger beyond storing: withdraw, first time asked, figures."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select, update

from blocks.ledger.block import Ledger
from blocks.ledger.schema import alerts, claims, leases, outbox, runs
from blocks.ledger.sql import insert_once, now

Kind = Literal["event", "notification", "run"]


def delivered(ledger: Ledger, kind: Kind, key: str) -> None:
    """Remember that a parcel was delivered by whoever put it there, before the sweep took it up."""
    waiting = (outbox.c.kind == kind) & (outbox.c.key == key) & outbox.c.sent_at.is_(None)
    ledger.write(
        lambda connection: connection.execute(update(outbox).where(waiting).values(sent_at=now(connection))),
        durable=False,
    )


def waiting(ledger: Ledger, kind: Kind, key: str) -> bool:
    """Whether a parcel is still to be delivered: false when it was sent, or withdrawn."""
    query = select(outbox.c.id).where(outbox.c.kind == kind, outbox.c.key == key, outbox.c.sent_at.is_(None))
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def withdraw(ledger: Ledger, source: str, fingerprint: str, until: datetime) -> int:
    """Keep the events of alerts that began by UNTIL from being sent; say how many were still waiting."""

    def work(connection: Connection) -> int:
        over = (alerts.c.source == source) & (alerts.c.fingerprint == fingerprint) & (alerts.c.starts_at <= until)
        ids = select(alerts.c.id).where(over, alerts.c.status == "firing")
        unsent = (outbox.c.kind == "event") & outbox.c.key.in_(ids) & outbox.c.sent_at.is_(None)
        values = {"sent_at": now(connection), "last_error": "withdrawn: the alert was resolved"}
        return connection.execute(update(outbox).where(unsent).values(values)).rowcount

    return ledger.write(work)


def is_over(ledger: Ledger, source: str, fingerprint: str, starts_at: datetime) -> bool:
    """Whether the end of an alert was told before its beginning: deliveries overtake each other."""
    ended = (alerts.c.source == source) & (alerts.c.fingerprint == fingerprint) & (alerts.c.status == "resolved")
    query = select(alerts.c.id).where(ended, alerts.c.starts_at >= starts_at).limit(1)
    with ledger.read() as connection:
        return connection.execute(query).first() is not None


def has_begun(ledger: Ledger, fingerprint: str) -> bool:
    """Whether any run that this alert caused has started: then nothing of it is cancelled from outside."""
    with ledger.read() as connection:
        return connection.execute(select(runs.c.id).where(runs.c.alert == fingerprint).limit(1)).first() is not None


def is_operated_on(ledger: Ledger, resource: str) -> bool:
    """Whether a live run holds the lease of RESOURCE: what happens to it now is that run's doing."""
    with ledger.read() as connection:
        mine = (leases.c.resource == resource) & leases.c.run_id.is_not(None) & (leases.c.expires_at > now(connection))
        return connection.execute(select(leases.c.resource).where(mine)).first() is not None


def first_asked(ledger: Ledger, key: str, by: str) -> datetime:
    """Tell when KEY was first asked for; every repetition is told the same."""

    def work(connection: Connection) -> datetime:
        insert_once(connection, claims, key=key, by=by, at=now(connection))
        at: datetime = connection.execute(select(claims.c.at).where(claims.c.key == key)).scalar_one()
        return at

    return ledger.write(work)
