"""The acts of a run: each is entered, and the lease checked, before it is begun."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from blocks.errors import LeaseLost, StandDown
from blocks.ledger import holds
from blocks.ledger.block import Ledger
from blocks.ledger.records import StepRecord
from blocks.ledger.schema import leases, operations, runs, steps
from blocks.ledger.sql import insert_once, live_run, locked_lease, now


def begin_step(ledger: Ledger, run_id: str, token: int, step: StepRecord) -> None:
    """Enter an act. Raise LeaseLost when this run may not write any more, StandDown when its time is up."""

    def work(connection: Connection) -> None:
        resource = connection.execute(select(runs.c.resource).where(runs.c.id == run_id)).scalar_one_or_none()
        if resource is None:
            raise LeaseLost("This run never took a lease: approve() must come before the first act.")
        lease = locked_lease(connection, resource)
        if lease.run_id != run_id or lease.token != token:
            raise LeaseLost(_holder(lease))
        _go_on(connection, live_run(connection, run_id), step, ledger.lease_seconds)

    ledger.write(work, durable=False)


def stopped(ledger: Ledger, run_id: str, token: int) -> str:
    """Say why a long act must stop now (a hold was placed, its time is up); raise LeaseLost when it may not write."""
    with ledger.read() as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
        lease = connection.execute(select(leases).where(leases.c.resource == run.resource)).one_or_none()
        if lease is None or lease.run_id != run_id or lease.token != token:
            raise LeaseLost(f"Another run holds the lease of {run.resource} now: this run stops here.")
        at = now(connection)
        if run.deadline_at is not None and at > run.deadline_at:
            return f"the run has used up its {run.timeout_seconds} s (timeout_seconds)"
        try:
            holds.refuse_held(connection, run.resource, at)
        except StandDown as error:
            return str(error)
    return ""


def note_step(ledger: Ledger, step: StepRecord) -> None:
    """Enter an act that is not done: a dry run."""
    ledger.write(lambda connection: insert_once(connection, steps, **step.model_dump()), durable=False)


def end_step(ledger: Ledger, step_id: str, *, found: str = "", error: str = "") -> None:
    """Enter what the act found or did, or why it failed."""

    def work(connection: Connection) -> None:
        values = {"ended_at": now(connection), "found": found[:4000], "error": error[:4000]}
        connection.execute(update(steps).where(steps.c.id == step_id).values(values))

    ledger.write(work, durable=False)


def timeline(ledger: Ledger, run_id: str) -> list[StepRecord]:
    """List the acts of a run, after those of the dead runs whose operation it went on with."""
    with ledger.read() as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
        ids = [run_id, *_forebears(connection, run)]
        query = select(steps).where(steps.c.run_id.in_(ids)).order_by(steps.c.started_at, steps.c.id)
        return [StepRecord.model_validate(row) for row in connection.execute(query)]


def _forebears(connection: Connection, run: Row[Any]) -> list[str]:
    if run.resource is None or run.key is None:
        return []
    mine = (runs.c.resource == run.resource) & (runs.c.key == run.key)
    dead = runs.c.swept_at.is_not(None) & runs.c.outcome.is_(None) & (runs.c.started_at < run.started_at)
    return list(connection.execute(select(runs.c.id).where(mine, dead)).scalars())


def _holder(lease: Row[Any]) -> str:
    who = f"run {lease.run_id} ({lease.procedure})" if lease.run_id else "nobody, after the sweep had freed it"
    return f"The lease of {lease.resource} is now held by {who}, with token {lease.token}: this run stops here."


def _go_on(connection: Connection, run: Row[Any], step: StepRecord, lease_seconds: float) -> None:
    at = now(connection)
    if not step.undo and run.deadline_at is not None and at > run.deadline_at:
        raise StandDown(
            f"The run has used up its {run.timeout_seconds} s (timeout_seconds): “{step.sentence}” was not begun."
        )
    until = at + timedelta(seconds=lease_seconds)
    connection.execute(update(leases).where(leases.c.resource == run.resource).values(expires_at=until))
    values: dict[str, Any] = {"heartbeat_until": until}
    if run.changed_at is None:
        values["changed_at"] = at
        mine = (operations.c.resource == run.resource) & (operations.c.key == run.key)
        first = operations.c.changed_at.is_(None)
        connection.execute(update(operations).where(mine, first).values(changed_at=at))
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
    insert_once(connection, steps, **step.model_dump() | {"started_at": at})
