"""Give back what a run changed."""

from __future__ import annotations

from tasks.consistency import fences, stores
from tasks.consistency.giving_back import batches, catalog_of, give_back, traces
from tasks.consistency.repair_state import UndoPlan
from tasks.consistency.undo_probe import Changed
from tasks.effects import act
from tasks.guard import current


@act("Take away what run {plan.run_id} added to keep wrong rows out ({plan.fences})")
def unfence(at: Changed, plan: UndoPlan) -> str:
    """Drop the constraints and indexes that the run added: rows as they were could not come back past them."""
    said = []
    with at.database.writing() as connection:
        stores.take(connection, at.target, current().token)
        added = stores.run(connection, "fences_of", {"run_id": plan.run_id})
    for _, name, kind, remove in added:
        if name in plan.fences:
            said.append(fences.lowered(at.database, kind, remove))
            with at.database.writing() as connection:
                stores.run(connection, "unfenced", {"by": current().run.id, "run_id": plan.run_id, "name": name})
    return "; ".join(said) or "there is none"


@act("Give back {plan.changes} rows as they were before run {plan.run_id}", point_of_no_return=True)
def give_rows_back(at: Changed, plan: UndoPlan) -> str:
    """Restore each row that is still as the run left it, the newest change first, in batches."""
    recovery, back = current(), 0
    with at.database.session() as connection:
        with at.database.written(connection):
            found = [each for each in traces(connection, plan.run_id) if not each.undone and each.rule in plan.rules]
            catalog = catalog_of(connection, found)
        for rows in batches(found):
            with at.database.written(connection):
                stores.settle(connection, statement_ms=at.database.statement_seconds * 1000)
                stores.hold(connection, at.target, recovery.token)
                back += give_back(connection, catalog, rows, recovery.run.id)
            recovery.progress.say(f"{back:,} of {len(found):,} rows are given back", 30 + 60 * back / len(found))
    return f"{back:,} rows are as before"
