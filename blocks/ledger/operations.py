"""What was begun on a resource and not brought to its end."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from blocks.ledger.block import Ledger
from blocks.ledger.schema import operations


def unfinished(ledger: Ledger, resource: str, procedure: str) -> dict[str, Any] | None:
    """Give the plan of the last operation that changed RESOURCE, when PROCEDURE began it and it was cut off."""
    table = operations.c
    changed = select(operations).where(table.resource == resource, table.changed_at.is_not(None))
    with ledger.read() as connection:
        last = connection.execute(changed.order_by(table.changed_at.desc()).limit(1)).one_or_none()
    if last is None or last.procedure != procedure or last.status not in {"open", "failed"}:
        return None
    plan: dict[str, Any] = last.plan
    return plan
