"""Look at what a run changed, and at what of it still stands."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks import app_audit
from blocks.app_database import Connection
from tasks.effects import probe
from tasks.stripe.kinds import fields_of
from tasks.stripe.policies import EVERY_TABLE, UndoPolicy
from tasks.stripe.reach import Reach
from tasks.stripe.resync_act import USER_FIELDS
from tasks.stripe.state import Change, Changes


@probe
def observe_changes(at: Reach, policy: UndoPolicy) -> Changes:
    """Hold every row that the run changed against what it was before and after."""
    with at.database.reading() as connection:
        audit = app_audit.exists(connection)
        tables = [_change(at, connection, name, policy.run_id) for name in (*EVERY_TABLE, "users") if audit]
    found = tuple(each for each in tables if each is not None)
    return Changes(resource=at.resource, at=datetime.now(UTC), run_id=policy.run_id, audit=audit, tables=found)


def _change(at: Reach, connection: Connection, name: str, run_id: str) -> Change | None:
    fields = USER_FIELDS if name == "users" else fields_of(name)
    found = app_audit.Audited(at.database, name, fields).look(connection, run_id)
    if not found.stands + found.given_back + found.moved:
        return None
    return Change(
        table=name,
        stands=found.stands,
        given_back=found.given_back,
        moved=found.moved_rows,
        moved_rows=found.moved,
    )
