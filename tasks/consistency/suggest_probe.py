"""Read all tables of an application, guess what points where, and hold it against some rows."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks import live_catalog
from blocks.app_database import AppDatabase
from blocks.errors import Misconfigured, StandDown
from blocks.filled_in import loaded
from blocks.live_catalog import Catalog
from blocks.rule_pack import RulePack
from blocks.rules import Orphan, Rule, Sequence
from tasks.consistency.pointing import constrained, counters, pointing
from tasks.consistency.policies import SuggestPolicy
from tasks.consistency.sampling import Say, sampled
from tasks.consistency.suggest_state import Counter, Guess, Passed, Survey
from tasks.effects import probe
from tasks.guard import current

Key = tuple[str, tuple[str, ...]]


class Ground:
    """A database, and the rules that there are for it already. No dataclass: Prefect would look into it."""

    def __init__(self, target: str, database: AppDatabase, rules: tuple[Rule, ...] = ()) -> None:
        """Bring the two together."""
        self.target, self.database, self.rules = target, database, rules


def ground(target: str, policy: SuggestPolicy) -> Ground:
    """Load the block of TARGET, or say that it is missing; a pack need not be there, unless the policy names it."""
    database = loaded(AppDatabase, target)
    try:
        return Ground(target, database, loaded(RulePack, policy.pack or target).pack.rules)
    except Misconfigured:
        if policy.pack:
            raise
        return Ground(target, database)


@probe
def observe_tables(at: Ground, policy: SuggestPolicy) -> Survey:
    """Look at all tables of the schema, at one moment, and at some of their rows."""
    return surveyed(at, policy, current().progress.say)


def surveyed(at: Ground, policy: SuggestPolicy, say: Say) -> Survey:
    """Look, and SAY how far it is."""
    database, schema = at.database, at.database.schema_name
    with database.reading() as connection:
        began = datetime.now(UTC)
        connection.execute("SELECT set_config('lock_timeout', '5s', true)")  # the size of a table waits for its lock
        names = live_catalog.tables_in(connection, schema)
        _refuse_unknown(policy, names, schema)
        catalog = live_catalog.read(connection, schema, [name for name in names if "." not in name])
        found = [*pointing(catalog, policy.tables), *counters(catalog, policy.tables)]
        known = _in_pack(at.rules)
        new = [each for each in found if isinstance(each, Passed) or _key(each) not in known]
        guesses = [each for each in new if isinstance(each, Guess)]
        looked = tuple(sampled(connection, catalog, guesses, policy, say))
    return Survey(
        target=at.target,
        at=began,
        where=database.where,
        schema_name=schema,
        tables=len(names),
        columns=sum(len(table.columns) for table in catalog.tables.values()),
        unreadable=_unreadable(catalog),
        constrained=sum(len(constrained(table)) for table in catalog.tables.values()),
        in_pack=len(found) - len(new),
        sampled=looked,
        counters=tuple(each for each in new if isinstance(each, Counter)),
        passed=(*_dotted(names), *(each for each in new if isinstance(each, Passed))),
    )


def _refuse_unknown(policy: SuggestPolicy, names: list[str], schema: str) -> None:
    if not names:
        raise StandDown(f"The schema {schema} has no table: correct schema_name in the AppDatabase block.")
    if unknown := sorted(set(policy.tables) - set(names)):
        raise StandDown(f"The schema {schema} has no table {', '.join(unknown)}: correct `tables` in the policy.")


def _unreadable(catalog: Catalog) -> tuple[str, ...]:
    return tuple(sorted(name for name, table in catalog.tables.items() if not table.readable))


def _dotted(names: list[str]) -> list[Passed]:
    why = "there is a dot in its name, which no rule can say"
    return [Passed(table=name, column="-", why=why) for name in names if "." in name]


def _in_pack(rules: tuple[Rule, ...]) -> set[Key]:
    orphans = {(rule.table, rule.columns) for rule in rules if isinstance(rule, Orphan)}
    return orphans | {(rule.table, (rule.column, "")) for rule in rules if isinstance(rule, Sequence)}


def _key(found: Guess | Counter) -> Key:
    return (found.table, found.columns) if isinstance(found, Guess) else (found.table, (found.column, ""))
