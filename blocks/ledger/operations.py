"""What was begun on a resource and not brought to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from blocks.ledger.block import Ledger
from blocks.ledger.schema import operations, runs


def unfinished(ledger: Ledger, resource: str, procedure: str) -> dict[str, Any] | None:
    """Give the plan of the last operation that changed RESOURCE, when PROCEDURE began it and it was cut off."""
    return _last_plan(ledger, resource, procedure, {"open", "failed"})


def left_open(ledger: Ledger, resource: str, procedure: str) -> dict[str, Any] | None:
    """Give that plan only when its run died: it did not end, and nobody was told how."""
    return _last_plan(ledger, resource, procedure, {"open"})


def _last_plan(ledger: Ledger, resource: str, procedure: str, statuses: set[str]) -> dict[str, Any] | None:
    table = operations.c
    changed = select(operations).where(table.resource == resource, table.changed_at.is_not(None))
    with ledger.read() as connection:
        last = connection.execute(changed.order_by(table.changed_at.desc()).limit(1)).one_or_none()
    if last is None or last.procedure != procedure or last.status not in statuses:
        return None
    plan: dict[str, Any] = last.plan
    return plan


def open_procedures(ledger: Ledger, resource: str) -> tuple[str, ...]:
    """Name the procedures that are under way on RESOURCE, or died on it and are gone on with."""
    mine = (operations.c.resource == resource) & (operations.c.status == "open")
    with ledger.read() as connection:
        return tuple(connection.execute(select(operations.c.procedure).where(mine).distinct()).scalars())


def close_inherited(connection: Connection, run: Row[Any], *, needless: bool, at: datetime) -> None:
    """Close what the dead runs before RUN had left open, since RUN has ended without taking it up.

    NEEDLESS: the world is right without it. Otherwise somebody has to look, and it counts as tried.
    """
    left = operations.c.run_id.in_(_forebears(connection, run)) & (operations.c.status == "open")
    values = {"status": "abandoned" if needless else "failed", "closed_at": at}
    connection.execute(update(operations).where(left).values(values))


def _forebears(connection: Connection, run: Row[Any]) -> list[str]:
    same = (runs.c.flow_run_id == run.flow_run_id) & (runs.c.id != run.id)
    found = list(connection.execute(select(runs.c.id).where(same)).scalars())
    earlier = run.resumes
    while earlier is not None:
        found.append(earlier)
        earlier = connection.execute(select(runs.c.resumes).where(runs.c.id == earlier)).scalar_one_or_none()
    return found
