"""Look at what a run changed, and at what of it still stands."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from blocks.app_database import AppDatabase, Connection
from blocks.filled_in import loaded
from blocks.live_catalog import Catalog
from tasks.consistency import stores
from tasks.consistency.giving_back import Trace, batches, catalog_of, differing, standing, traces
from tasks.consistency.repair_policies import UndoPolicy
from tasks.consistency.repair_state import Changes, Standing
from tasks.effects import probe
from tasks.guard import current

NAMED = 100


class Changed:
    """A database of which something is given back. No dataclass: Prefect would look into it."""

    def __init__(self, target: str) -> None:
        """Load its block."""
        self.target, self.database = target, loaded(AppDatabase, target)

    @property
    def resource(self) -> str:
        """Name the thing that leases, holds and events are about."""
        return f"recovery.consistency.{self.target}"


@probe
def observe_changes(at: Changed, policy: UndoPolicy) -> Changes:
    """Hold every row that the run changed against how the run left it, and what came back against how it was."""
    seen = Changes(resource=at.resource, at=datetime.now(UTC), run_id=policy.run_id)
    with at.database.reading() as connection:
        stores.settle(connection, statement_ms=at.database.statement_seconds * 1000)
        if not stores.exists(connection):
            return seen
        found = [each for each in traces(connection, policy.run_id) if _wanted(each.rule, policy)]
        catalog = catalog_of(connection, found)
        runs = {"runs": stores.line(connection, policy.run_id)}
        fences = [(rule, name) for rule, name, *_ in stores.run(connection, "fences_of", runs)]
        return seen.model_copy(
            update={
                "known": tuple(rule for (rule,) in stores.run(connection, "rules_of", runs)),
                "rules": _by_rule(found, *_looked(connection, catalog, found), _deleted(connection, policy)),
                "fences": tuple(name for rule, name in fences if _wanted(rule, policy)),
                "triggers": tuple(
                    f"{table.label}: {', '.join(table.triggers)}" for table in catalog.tables.values() if table.triggers
                ),
            }
        )


def _looked(connection: Connection, catalog: Catalog, found: list[Trace]) -> tuple[set[int], set[int]]:
    """Say which changes stand, and which rows this run gave back that are not as they were."""
    stands = standing(connection, catalog, [each for each in found if not each.undone])
    # Of a row that was changed twice, only the first change knows how it was before the run.
    first = {(each.named, each.key): each for each in found}
    differ: set[int] = set()
    for rows in batches([each for each in first.values() if each.undone == current().run.id]):
        differ |= differing(connection, catalog, rows)
    return stands, differ


def _deleted(connection: Connection, policy: UndoPolicy) -> dict[str, int]:
    found: Counter[str] = Counter()
    for run_id in stores.line(connection, policy.run_id):
        accounts = stores.accounts(connection, run_id).values()
        found.update({each.rule: each.deleted for each in accounts if each.deleted and _wanted(each.rule, policy)})
    return dict(found)


def _wanted(rule: str, policy: UndoPolicy) -> bool:
    return not policy.rules or rule in policy.rules


def _by_rule(found: list[Trace], stands: set[int], differ: set[int], deleted: dict[str, int]) -> tuple[Standing, ...]:
    by_rule: dict[str, list[Trace]] = {}
    for each in reversed(found):
        by_rule.setdefault(each.rule, []).append(each)
    return tuple(
        _standing(rule, by_rule.get(rule, []), stands, differ).model_copy(update={"gone": deleted.get(rule, 0)})
        for rule in dict.fromkeys([*by_rule, *deleted])
    )


def _standing(rule: str, found: list[Trace], stands: set[int], differ: set[int]) -> Standing:
    moved = [each for each in found if not each.undone and each.number not in stands]
    other = [each for each in found if each.number in differ]
    return Standing(
        rule=rule,
        stands=sum(not each.undone and each.number in stands for each in found),
        given_back=sum(bool(each.undone) for each in found),
        moved=len(moved),
        moved_rows=_rows(moved),
        differs=len(other),
        differing_rows=_rows(other),
    )


def _rows(found: list[Trace]) -> tuple[str, ...]:
    return tuple(f"{each.table} {', '.join(each.key)}" for each in found[:NAMED])
