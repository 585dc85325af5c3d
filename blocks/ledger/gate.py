"""The policy gate: one transaction in which a run gets the only lease of its target, or is told why not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from blocks.errors import SalvorError, StandDown
from blocks.ledger import alerts, holds
from blocks.ledger.block import Ledger
from blocks.ledger.records import Claimed, Intent
from blocks.ledger.runs import supersede
from blocks.ledger.schema import leases, operations, runs
from blocks.ledger.sql import insert_into, live_run, locked_lease, now


def claim(ledger: Ledger, run_id: str, intent: Intent) -> Claimed:
    """Take the lease and open (or go on with) the operation; raise StandDown when a guard says no."""

    def work(connection: Connection) -> Claimed:
        lease = locked_lease(connection, intent.resource)
        run, at = live_run(connection, run_id), now(connection)
        operation = _operation(connection, intent)
        if lease.run_id == run_id and run.key == intent.key:  # the answer to the first claim was lost
            return _claimed(lease.token, operation, intent, adopted=True)
        _object(connection, run, (lease, operation), intent, at)
        if lease.run_id:
            supersede(connection, lease.run_id, f"its lease had run out and run {run_id} took over", at)
        _close_older(connection, intent, run.procedure, at)
        token = _take(connection, run, intent, at + timedelta(seconds=ledger.lease_seconds))
        _open(connection, run, intent, operation, at)
        return _claimed(token, _operation(connection, intent), intent, adopted=_unfinished(operation))

    return ledger.write(work)


def foretell(ledger: Ledger, run_id: str, intent: Intent) -> str:
    """Say what the gate would object to now, and change nothing; empty when it would let the run through."""
    with ledger.read() as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
        lease = connection.execute(select(leases).where(leases.c.resource == intent.resource)).one_or_none()
        try:
            _object(connection, run, (lease, _operation(connection, intent)), intent, now(connection))
        except SalvorError as error:
            return str(error)
    return ""


def _object(
    connection: Connection, run: Row[Any], held: tuple[Row[Any] | None, Row[Any] | None], intent: Intent, at: datetime
) -> None:
    lease, operation = held
    holds.refuse_held(connection, intent.resource, at)
    _refuse_leased(run, lease, at)
    _refuse_other_operation(connection, run, intent)
    _refuse_repeated(operation, intent)
    if not _unfinished(operation):
        _refuse_resolved(connection, run)
        _refuse_flapping(connection, run, intent, at)


def _refuse_leased(run: Row[Any], lease: Row[Any] | None, at: datetime) -> None:
    if lease is None or lease.run_id is None or lease.expires_at is None or lease.expires_at <= at:
        return
    if lease.procedure == run.procedure:
        raise StandDown(f"Run {lease.run_id} is already on it.", outcome="NothingToDo")
    raise StandDown(
        f"{lease.resource} is held by {lease.procedure} (run {lease.run_id}). Wait for it to end, then run this again."
    )


def _refuse_other_operation(connection: Connection, run: Row[Any], intent: Intent) -> None:
    table = operations.c
    query = select(operations).where(table.resource == intent.resource, table.status == "open")
    other = connection.execute(query.where(table.procedure != run.procedure)).first()
    if other is not None:
        raise StandDown(
            f"{other.procedure} was begun on {intent.resource} by run {other.run_id} and is not finished."
            f" It is started again by the sweep; run this after it has ended."
        )


def _refuse_repeated(operation: Row[Any] | None, intent: Intent) -> None:
    if operation is None:
        return
    if operation.status == "done" and intent.once:
        when = f"{operation.closed_at:%Y-%m-%d %H:%M:%S} UTC"
        raise StandDown(f"Run {operation.run_id} did exactly this at {when}.", outcome="NothingToDo")
    if _unfinished(operation) and operation.attempts >= intent.max_attempts:
        raise StandDown(
            f"This was tried {operation.attempts} times and never finished (last by run {operation.run_id})."
            " A person must look; to try once more, raise max_attempts in the policy."
        )


def _refuse_resolved(connection: Connection, run: Row[Any]) -> None:
    if run.alert and alerts.resolved_in(connection, run.alert):
        raise StandDown(f"The alert {run.alert} was resolved before anything was done.", outcome="NothingToDo")


def _refuse_flapping(connection: Connection, run: Row[Any], intent: Intent, at: datetime) -> None:
    table = operations.c
    query = select(operations).where(
        table.resource == intent.resource,
        table.procedure == run.procedure,
        table.status != "open",
        table.changed_at.is_not(None),
    )
    last = connection.execute(query.order_by(table.closed_at.desc()).limit(1)).first()
    if last is None or (since := (at - last.closed_at).total_seconds()) >= intent.min_interval_seconds:
        return
    raise StandDown(
        f"Flap breaker: run {last.run_id} did {run.procedure} on {intent.resource} {since:.0f} s ago, and the policy"
        f" wants {intent.min_interval_seconds} s between two. Find out why it is needed again;"
        " lower min_interval_seconds to go on."
    )


def _operation(connection: Connection, intent: Intent) -> Row[Any] | None:
    mine = (operations.c.resource == intent.resource) & (operations.c.key == intent.key)
    return connection.execute(select(operations).where(mine).with_for_update()).one_or_none()


def _unfinished(operation: Row[Any] | None) -> bool:
    return operation is not None and operation.status in {"open", "failed"}


def _close_older(connection: Connection, intent: Intent, procedure: str, at: datetime) -> None:
    # A dead run of the same procedure left something open, and the world has moved on since: this plan replaces it.
    table = operations.c
    older = (table.resource == intent.resource) & (table.key != intent.key) & (table.status == "open")
    query = update(operations).where(older, table.procedure == procedure)
    connection.execute(query.values(status="failed", closed_at=at))


def _take(connection: Connection, run: Row[Any], intent: Intent, until: datetime) -> int:
    values = {"token": leases.c.token + 1, "run_id": run.id, "procedure": run.procedure, "expires_at": until}
    mine = leases.c.resource == intent.resource
    connection.execute(update(leases).where(mine).values(values))
    token: int = connection.execute(select(leases.c.token).where(mine)).scalar_one()
    held: dict[str, Any] = {"resource": intent.resource, "key": intent.key, "token": token}
    if intent.approval:
        held["deadline_at"] = None  # waiting for a person is not counted
    connection.execute(update(runs).where(runs.c.id == run.id).values(held | {"heartbeat_until": until}))
    return token


def _open(connection: Connection, run: Row[Any], intent: Intent, operation: Row[Any] | None, at: datetime) -> None:
    before = operation if _unfinished(operation) else None
    values: dict[str, Any] = {
        "procedure": run.procedure,
        "status": "open",
        "plan": intent.plan,
        "digest": intent.digest,
        "attempts": before.attempts + 1 if before is not None else 1,
        "run_id": run.id,
        "closed_at": None,
    }
    if before is None:
        values |= {"opened_at": at, "changed_at": None}
    if before is None or before.status == "failed":  # an approval is not good for every time it is tried again
        values |= {"approved_digest": None, "approved_by": None, "approved_comment": None}
    first = {"resource": intent.resource, "key": intent.key, "opened_at": at}
    insert = insert_into(connection, operations).values(first | values)
    connection.execute(insert.on_conflict_do_update(index_elements=["resource", "key"], set_=values))


def _claimed(token: int, operation: Row[Any] | None, intent: Intent, *, adopted: bool) -> Claimed:
    if operation is None:
        raise StandDown("The ledger lost the operation that this run had opened. Run it again.")
    approved = operation.approved_digest == intent.digest
    return Claimed(token=token, attempts=operation.attempts, adopted=adopted, approved=approved)
