"""Runs whose process died: found by their silent heartbeat, freed, and started again or handed to a person."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, Notification, Run
from blocks.ledger.runs import end, free
from blocks.ledger.schema import runs
from blocks.ledger.sql import locked_lease, now

ACTIVE = runs.c.ended_at.is_(None) & runs.c.swept_at.is_(None)


def expired(ledger: Ledger) -> list[Run]:
    """List the runs that should have said by now that they are alive."""
    with ledger.read() as connection:
        query = select(runs).where(ACTIVE, runs.c.heartbeat_until < now(connection))
        return [Run.model_validate(row) for row in connection.execute(query.order_by(runs.c.started_at))]


def sweep(ledger: Ledger) -> list[Run]:
    """Declare every silent run dead, each in its own transaction: its lease is free, its late writes are refused."""
    return [run for run in expired(ledger) if _sweep_one(ledger, run)]


def _sweep_one(ledger: Ledger, run: Run) -> bool:
    def work(connection: Connection) -> bool:
        if run.resource:
            locked_lease(connection, run.resource)
        at = now(connection)
        query = select(runs).where(runs.c.id == run.id, ACTIVE, runs.c.heartbeat_until < at)
        row = connection.execute(query.with_for_update()).one_or_none()
        if row is None:
            return False
        if row.resource != run.resource:
            return False  # it took its lease a moment ago, so it is alive; look again next time
        if row.resource:
            free(connection, row.resource, row.id)
        _dispose(connection, row, at)
        return True

    return ledger.write(work)


def _dispose(connection: Connection, row: Row[Any], at: datetime) -> None:
    why = _not_again(row)
    if why:
        _end(connection, row, "NeedsHuman", why, at)
        return
    connection.execute(update(runs).where(runs.c.id == row.id).values(swept_at=at))
    payload = {"flow_run_id": row.flow_run_id, "deployment_id": row.deployment_id, "parameters": row.parameters}
    outbox.put(connection, "run", row.id, payload)


def _not_again(row: Row[Any]) -> str:
    if row.deployment_id is None:
        return (
            "The process of this run died, and it was not started from a deployment, so it cannot be started again"
            " by itself. Run it again: it looks at the world first and goes on from there."
        )
    if row.attempt >= row.max_attempts:
        return (
            f"The process of this run died, for the {_nth(row.attempt)} time. It is not started again: find out what"
            " kills it, then run it again with a higher max_attempts."
        )
    return ""


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def give_up(ledger: Ledger, run_id: str, why: str, *, cancelled: bool = False) -> bool:
    """End a swept run for good (a person cancelled it, or it cannot be started again), and page."""

    def work(connection: Connection) -> bool:
        row = _unended(connection, run_id)
        if row is None:
            return False
        untouched = cancelled and row.changed_at is None
        _end(connection, row, "Refused" if untouched else "NeedsHuman", why, now(connection))
        return True

    return ledger.write(work)


def end_as_told(ledger: Ledger, run_id: str, ending: Ending) -> bool:
    """End a swept run as it told Prefect itself: it had come to its end, and only the ledger did not hear it."""

    def work(connection: Connection) -> bool:
        row = _unended(connection, run_id)
        if row is not None:
            end(connection, row, ending, now(connection))
        return row is not None

    return ledger.write(work)


def _unended(connection: Connection, run_id: str) -> Row[Any] | None:
    resource = connection.execute(select(runs.c.resource).where(runs.c.id == run_id)).scalar_one_or_none()
    if resource:
        locked_lease(connection, resource)
    query = select(runs).where(runs.c.id == run_id, runs.c.ended_at.is_(None))
    return connection.execute(query.with_for_update()).one_or_none()


def _end(connection: Connection, row: Row[Any], outcome: str, why: str, at: datetime) -> None:
    title = f"{row.procedure} on {row.target}: {outcome}"
    ending = Ending(outcome=outcome, why=why, markdown=f"# {outcome}\n\n{why}\n", operation="failed")
    end(connection, row, ending, at)
    connection.execute(update(runs).where(runs.c.id == row.id).values(swept_at=at))
    outbox.put(connection, "notification", f"{row.id}.end", _page(row, title, why).model_dump())


def _page(row: Row[Any], title: str, why: str) -> Notification:
    return Notification(
        urgency="page",
        title=title,
        body=why,
        about=f"{row.procedure} on {row.target}",
        resource=row.resource or "",
        run_id=row.flow_run_id,
    )


def unsettled(ledger: Ledger) -> list[Run]:
    """List the runs that ended a while ago and that Prefect was not yet seen to know the end of."""
    with ledger.read() as connection:
        # A run that ended just now is still telling Prefect itself.
        past = now(connection) - timedelta(seconds=ledger.lease_seconds)
        query = select(runs).where(runs.c.ended_at < past, runs.c.settled_at.is_(None))
        return [Run.model_validate(row) for row in connection.execute(query.order_by(runs.c.ended_at).limit(20))]
