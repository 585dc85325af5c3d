"""The ledger counted: what `/metrics` shows. Only narrow columns are read, so that a long history stays cheap."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from blocks.ledger.block import Ledger
from blocks.ledger.records import Record
from blocks.ledger.schema import alerts, holds, outbox, positions, runs
from blocks.ledger.sql import now


class RunFigure(Record):
    """One run, as far as it is counted."""

    procedure: str
    outcome: str | None
    dry_run: bool
    attempt: int
    started_at: datetime
    ended_at: datetime | None
    swept_at: datetime | None
    trouble_at: datetime | None  #: when the alert that caused it began


class AlertFigure(Record):
    """Alerts of one source and status: how many there were, and how often they were delivered."""

    source: str
    status: str
    alerts: int
    deliveries: int


class OutboxFigure(Record):
    """What one kind of parcel has waiting."""

    kind: str
    waiting: int
    failing: int
    oldest_seconds: float


class Figures(Record):
    """Everything that is counted, at one moment."""

    at: datetime
    runs: tuple[RunFigure, ...]
    alerts: tuple[AlertFigure, ...]
    outbox: tuple[OutboxFigure, ...]
    position_age_seconds: dict[str, float]
    holds: int


def count(ledger: Ledger) -> Figures:
    """Count everything in one read transaction."""
    with ledger.read() as connection:
        at = now(connection)
        standing = (holds.c.lifted_at.is_(None), holds.c.starts_at <= at, holds.c.until > at)
        seen = select(positions.c.resource, func.max(positions.c.at).label("at")).group_by(positions.c.resource)
        return Figures(
            at=at,
            runs=_runs(connection),
            alerts=_alerts(connection),
            outbox=_outbox(connection, at),
            position_age_seconds={r.resource: (at - r.at).total_seconds() for r in connection.execute(seen)},
            holds=connection.execute(select(func.count()).select_from(holds).where(*standing)).scalar_one(),
        )


def _runs(connection: Connection) -> tuple[RunFigure, ...]:
    # An alert that fires again has the same fingerprint and a later start: the latest before the run is the cause.
    cause = (alerts.c.fingerprint == runs.c.alert) & (alerts.c.status == "firing")
    began = select(func.max(alerts.c.starts_at)).where(cause, alerts.c.starts_at <= runs.c.started_at)
    names = [name for name in RunFigure.model_fields if name != "trouble_at"]
    query = select(*(runs.c[name] for name in names), began.scalar_subquery().label("trouble_at"))
    return tuple(RunFigure.model_validate(row) for row in connection.execute(query))


def _alerts(connection: Connection) -> tuple[AlertFigure, ...]:
    kinds = (alerts.c.source, alerts.c.status)
    query = select(*kinds, func.count().label("alerts"), func.sum(alerts.c.count).label("deliveries")).group_by(*kinds)
    return tuple(AlertFigure.model_validate(row) for row in connection.execute(query))


def _outbox(connection: Connection, at: datetime) -> tuple[OutboxFigure, ...]:
    query = select(outbox.c.kind, outbox.c.attempts, outbox.c.created_at).where(outbox.c.sent_at.is_(None))
    rows = connection.execute(query).all()
    return tuple(
        OutboxFigure(
            kind=kind,
            waiting=sum(r.kind == kind for r in rows),
            failing=sum(r.kind == kind and r.attempts > 1 for r in rows),
            oldest_seconds=max(((at - r.created_at).total_seconds() for r in rows if r.kind == kind), default=0.0),
        )
        for kind in ("event", "notification", "run")
    )
