"""The life of a run: it announces itself, says that it is alive, and ends exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.ledger.operations import close_inherited
from blocks.ledger.records import Ending, NewRun, Notification, Run
from blocks.ledger.schema import leases, operations, runs
from blocks.ledger.sql import live_run, locked_lease, now


def register(ledger: Ledger, new: NewRun) -> Run:
    """Enter a run. The same Prefect run entered again (a retry) takes over from its earlier self."""

    def work(connection: Connection) -> Run:
        at = now(connection)
        earlier = connection.execute(
            select(runs).where(runs.c.flow_run_id == new.flow_run_id).order_by(runs.c.started_at)
        ).all()
        for row in earlier:
            supersede(connection, row.id, "the same Prefect run was started again", at)
        values = new.model_dump() | {
            "id": f"{new.flow_run_id}.{len(earlier) + 1}" if earlier else new.flow_run_id,
            "attempt": _attempt(connection, new.resumes),
            "started_at": at,
            "heartbeat_until": at + timedelta(seconds=ledger.lease_seconds),
            "deadline_at": at + timedelta(seconds=new.timeout_seconds),
        }
        connection.execute(runs.insert().values(**values))
        return find_in(connection, values["id"])

    return ledger.write(work)


def _attempt(connection: Connection, resumes: str | None) -> int:
    earlier = connection.execute(select(runs.c.attempt).where(runs.c.id == resumes)).scalar_one_or_none()
    return 1 + (earlier or 0)


def renew(ledger: Ledger, run_id: str) -> bool:
    """Say that the run is alive; False when it was declared dead, has ended, or hangs far beyond its time."""

    def work(connection: Connection) -> bool:
        resource = connection.execute(select(runs.c.resource).where(runs.c.id == run_id)).scalar_one_or_none()
        at = now(connection)
        until = at + timedelta(seconds=ledger.lease_seconds)
        if resource:
            held = (leases.c.resource == resource) & (leases.c.run_id == run_id)
            connection.execute(update(leases).where(held).values(expires_at=until))
        row = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
        if row is None or row.ended_at or row.swept_at or _hangs(row, at):
            return False
        connection.execute(update(runs).where(runs.c.id == run_id).values(heartbeat_until=until))
        return True

    return ledger.write(work, durable=False)


def _hangs(row: Row[Any], at: datetime) -> bool:
    # Twice the time it was given: enough to undo, judge and report; after that somebody else should look.
    return row.deadline_at is not None and at > row.deadline_at + timedelta(seconds=row.timeout_seconds)


def abandon(ledger: Ledger, run_id: str) -> None:
    """Give the run up at once (its process was told to stop), so that the sweep need not wait."""

    def work(connection: Connection) -> None:
        at = now(connection)
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        if row is None or row.ended_at or row.swept_at:
            return
        if row.resource:
            mine = (leases.c.resource == row.resource) & (leases.c.run_id == run_id)
            connection.execute(update(leases).where(mine).values(expires_at=at))
        connection.execute(update(runs).where(runs.c.id == run_id).values(heartbeat_until=at))

    ledger.write(work)


def close(
    ledger: Ledger,
    run_id: str,
    ending: Ending,
    notification: Notification | None = None,
    events: Mapping[str, dict[str, Any]] | None = None,
) -> bool:
    """End the run, free its lease, and tell of it; False, and nothing is written, when it was declared dead before."""

    def work(connection: Connection) -> bool:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one()
        if row.resource:
            locked_lease(connection, row.resource)
        row = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one()
        if row.ended_at is not None or row.swept_at is not None:
            return bool(row.swept_at is None and row.outcome == ending.outcome)
        end(connection, row, ending, now(connection))
        if notification is not None:
            outbox.put(connection, "notification", f"{run_id}.end", notification.model_dump())
        for key, event in (events or {}).items():
            outbox.put(connection, "event", key, event)
        return True

    return ledger.write(work)


def end(connection: Connection, row: Row[Any], ending: Ending, at: datetime) -> None:
    """Write the end of the run ROW; its lease is locked by the caller."""
    values = {"ended_at": at, "outcome": ending.outcome, "why": ending.why}
    values |= {"report": ending.report, "markdown": ending.markdown}
    connection.execute(update(runs).where(runs.c.id == row.id).values(**values))
    if not row.resource:
        # Nobody else will: the dead run is not started again after this one, and what is open keeps others away.
        close_inherited(connection, row, needless=ending.outcome == "NothingToDo", at=at)
        return
    free(connection, row.resource, row.id)
    mine = (operations.c.resource == row.resource) & (operations.c.key == row.key)
    mine &= (operations.c.run_id == row.id) & (operations.c.status == "open")
    operation = connection.execute(select(operations.c.changed_at).where(mine)).one_or_none()
    closing: dict[str, Any] = {"status": ending.operation, "closed_at": at}
    if operation is not None and ending.operation == "abandoned":
        closing |= _left_by_earlier(operation.changed_at, row)
    connection.execute(update(operations).where(mine).values(closing))


def _left_by_earlier(changed_at: datetime | None, row: Row[Any]) -> dict[str, Any]:
    # This run changed nothing, or took it back; but a dead run before it may have, and that is not undone.
    earlier = changed_at is not None and changed_at < row.started_at
    return {"status": "failed"} if earlier else {"changed_at": None}


def free(connection: Connection, resource: str, run_id: str) -> None:
    """Take the lease away from the run; the higher token makes its late writes known."""
    mine = (leases.c.resource == resource) & (leases.c.run_id == run_id)
    values = {"token": leases.c.token + 1, "run_id": None, "procedure": None, "expires_at": None}
    connection.execute(update(leases).where(mine).values(values))


def supersede(connection: Connection, run_id: str, why: str, at: datetime) -> None:
    """Declare a run dead without starting it again: somebody else goes on with its work."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None or row.ended_at or row.swept_at:
        return
    if row.resource:
        locked_lease(connection, row.resource)
        free(connection, row.resource, run_id)
    connection.execute(update(runs).where(runs.c.id == run_id).values(swept_at=at, why=f"Superseded: {why}."))


def granted(ledger: Ledger, run_id: str, digest: str, by: str, comment: str) -> None:
    """Keep who approved what, and start the clock of the run."""

    def work(connection: Connection) -> None:
        row = _start_clock(connection, run_id)
        mine = (operations.c.resource == row.resource) & (operations.c.key == row.key)
        approval = {"approved_digest": digest, "approved_by": by, "approved_comment": comment}
        connection.execute(update(operations).where(mine).values(approval))

    ledger.write(work)


def start_clock(ledger: Ledger, run_id: str) -> None:
    """Start the run's time now, for it has waited for a person until here."""
    ledger.write(lambda connection: _start_clock(connection, run_id))


def _start_clock(connection: Connection, run_id: str) -> Row[Any]:
    row = live_run(connection, run_id)
    deadline = now(connection) + timedelta(seconds=row.timeout_seconds)
    connection.execute(update(runs).where(runs.c.id == run_id).values(deadline_at=deadline))
    return row


def find(ledger: Ledger, run_id: str) -> Run:
    """Read one run."""
    with ledger.read() as connection:
        return find_in(connection, run_id)


def find_in(connection: Connection, run_id: str) -> Run:
    """Read one run in a transaction that is open."""
    row = connection.execute(select(runs).where(runs.c.id == run_id)).one()
    return Run.model_validate(row)


def history(ledger: Ledger, *, since: datetime | None = None, limit: int = 1000) -> list[Run]:
    """List the runs, newest first: what `/metrics` counts."""
    query = select(runs).order_by(runs.c.started_at.desc()).limit(limit)
    if since is not None:
        query = query.where(runs.c.started_at >= since)
    with ledger.read() as connection:
        return [Run.model_validate(row) for row in connection.execute(query)]


def before(ledger: Ledger, run: Run) -> Run | None:
    """Read the run of the same procedure on the same target that ended last, RUN itself not counted."""
    same = (runs.c.procedure == run.procedure) & (runs.c.target == run.target) & (runs.c.id != run.id)
    query = select(runs).where(same, runs.c.ended_at.is_not(None)).order_by(runs.c.ended_at.desc()).limit(1)
    with ledger.read() as connection:
        row = connection.execute(query).one_or_none()
        return Run.model_validate(row) if row else None


def reported(ledger: Ledger, run_id: str) -> None:
    """Remember that the report artifact was written."""
    _stamp(ledger, run_id, "reported_at")


def settled(ledger: Ledger, run_id: str) -> None:
    """Remember that Prefect knows how the run ended."""
    _stamp(ledger, run_id, "settled_at")


def _stamp(ledger: Ledger, run_id: str, column: str) -> None:
    ledger.write(
        lambda connection: connection.execute(update(runs).where(runs.c.id == run_id).values({column: now(connection)}))
    )
