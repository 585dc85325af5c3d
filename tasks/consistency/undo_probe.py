"""Look at what a run changed, and at what of it still stands."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from blocks.app_database import AppDatabase
from blocks.filled_in import loaded
from tasks.consistency import stores
from tasks.consistency.giving_back import Trace, batches, catalog_of, standing, traces
from tasks.consistency.repair_policies import UndoPolicy
from tasks.consistency.repair_state import Changes, Standing
from tasks.effects import probe

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
    """Hold every row that the run changed against how the run left it."""
    found: list[Trace] = []
    stands: set[int] = set()
    deleted: dict[str, int] = {}
    fences: tuple[str, ...] = ()
    with at.database.reading() as connection:
        stores.settle(connection, statement_ms=at.database.statement_seconds * 1000)
        if stores.exists(connection):
            found = [each for each in traces(connection, policy.run_id) if _wanted(each.rule, policy)]
            catalog = catalog_of(connection, found)
            for rows in batches([each for each in found if not each.undone]):
                stands |= standing(connection, catalog, rows)
            accounts = stores.accounts(connection, policy.run_id)
            deleted = {rule: each.deleted for rule, each in accounts.items() if each.deleted and _wanted(rule, policy)}
            rows_of = stores.run(connection, "fences_of", {"run_id": policy.run_id})
            fences = tuple(name for rule, name, *_ in rows_of if _wanted(rule, policy))
    return Changes(
        resource=at.resource,
        at=datetime.now(UTC),
        run_id=policy.run_id,
        rules=_by_rule(found, stands, deleted),
        fences=fences,
    )


def _wanted(rule: str, policy: UndoPolicy) -> bool:
    return not policy.rules or rule in policy.rules


def _by_rule(found: list[Trace], stands: set[int], deleted: dict[str, int]) -> tuple[Standing, ...]:
    given_back = Counter(each.rule for each in found if each.undone)
    as_left = Counter(each.rule for each in found if not each.undone and each.number in stands)
    moved = [each for each in found if not each.undone and each.number not in stands]
    names = dict.fromkeys([*(each.rule for each in reversed(found)), *deleted])
    return tuple(
        Standing(
            rule=rule,
            stands=as_left[rule],
            given_back=given_back[rule],
            moved=sum(each.rule == rule for each in moved),
            moved_rows=tuple(f"{each.table} {', '.join(each.key)}" for each in moved if each.rule == rule)[:NAMED],
            gone=deleted.get(rule, 0),
        )
        for rule in names
    )
