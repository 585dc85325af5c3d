"""Give back what a run changed."""

from __future__ import annotations

import time

from blocks.app_database import Connection
from blocks.errors import StandDown, Transient
from blocks.ledger import steps
from tasks.consistency import fences, stores
from tasks.consistency.giving_back import Trace, batches, catalog_of, give_back, standing, traces
from tasks.consistency.repair_state import UndoPlan
from tasks.consistency.undo_probe import Changed
from tasks.effects import act
from tasks.guard import current
from tasks.report import log

#: How often is come back to what somebody else has locked.
ROUNDS = 5
PAUSE_SECONDS = 0.2


@act("Take away what run {plan.run_id} added to keep wrong rows out ({plan.taken_away})")
def unfence(at: Changed, plan: UndoPlan) -> str:
    """Drop the constraints and indexes that the run added: rows as they were could not come back past them."""
    said = []
    with at.database.writing() as connection:
        stores.take(connection, at.target, current().token)
        runs = stores.line(connection, plan.run_id)
        added = stores.run(connection, "fences_of", {"runs": runs})
    for _, name, kind, remove in added:
        if name in plan.fences:
            gone, how = fences.lowered(at.database, kind, remove)
            said.append(how)
            if gone:
                with at.database.writing() as connection:
                    values = {"by": current().run.id, "runs": runs, "name": name}
                    stores.run(connection, "unfenced", values)
    return "; ".join(said) or "there is none"


@act("Give back {plan.changes} rows as they were before run {plan.run_id}", point_of_no_return=True)
def give_rows_back(at: Changed, plan: UndoPlan) -> str:
    """Restore each row that is still as the run left it, the newest change first, in batches."""
    back = 0
    with at.database.session() as connection:
        for turn in range(ROUNDS):
            left = _left(at, connection, plan)
            if not left:
                break
            time.sleep(PAUSE_SECONDS if turn else 0)
            for rows in batches(left):
                back += _batch(at, connection, rows, plan)
                share = min(1.0, back / max(1, plan.changes))
                said = f"{back:,} of {plan.changes:,} rows are given back"
                current().progress.say(said, 30 + 60 * share)
    return f"{back:,} rows were given back"


def _left(at: Changed, connection: Connection, plan: UndoPlan) -> list[Trace]:
    """List what is to be given back, and stands."""
    with at.database.written(connection):
        stores.settle(connection, statement_ms=at.database.statement_seconds * 1000)
        found = [each for each in traces(connection, plan.run_id) if not each.undone and each.rule in plan.rules]
        stands = standing(connection, catalog_of(connection, found), found)
    return [each for each in found if each.number in stands]


def _batch(at: Changed, connection: Connection, rows: list[Trace], plan: UndoPlan) -> int:
    recovery = current()
    if stopped := steps.stopped(recovery.ledger, recovery.run.id, recovery.token):
        raise StandDown(f"The undo of run {plan.run_id} was stopped, because {stopped}: run it again for the rest.")
    try:
        with at.database.written(connection):
            stores.settle(connection)
            stores.hold(connection, at.target, recovery.token)
            return give_back(connection, catalog_of(connection, rows), rows, recovery.run.id)
    except Transient as error:  # somebody's lock, or a time-out: it is come back to
        log(f"A batch was given up: {error}")
        return 0
