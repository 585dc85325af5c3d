"""Hold a rule against the catalog: one sentence for each thing that does not fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from blocks.live_catalog import Catalog, Table
from blocks.rules import Condition

_CALLED = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}
#: Types of different names that are compared with `=` all the same.
_KIN = (
    {"smallint", "integer", "bigint", "numeric", "real", "double precision"},
    {"text", "character varying", "character", "name", "citext"},
    {"timestamp with time zone", "timestamp without time zone", "date"},
)


def table_misfits(catalog: Catalog, name: str, *, to_write: bool = False) -> Iterator[str]:
    """Say why rows of a table cannot be looked at, or not be changed."""
    table = catalog.tables.get(name)
    if table is None:
        yield f"There is no table {name}{_meant(name, catalog.tables)}: correct its name in the rule."
        return
    label = table.label
    if not table.readable:
        yield f"Salvor may not read {label}: GRANT SELECT ON {quoted(table)} to its user."
    if table.hides_rows:
        yield (
            f"Row-level security may hide rows of {label} from Salvor's user: give it BYPASSRLS, or a policy under"
            " which it sees all."
        )
    if not to_write:
        return
    if table.kind in _CALLED:
        yield f"{label} is {_CALLED[table.kind]}: its rows cannot be repaired. Name the table behind it."
    elif not table.primary_key:
        yield f"{label} has no primary key, so no row of it can be told from another: give it one, or only report."
    if table.readable and not table.writable:
        yield f"Salvor may not write {label}: GRANT UPDATE, INSERT, DELETE ON {quoted(table)} to its user."


def column_misfits(table: Table, names: Iterable[str]) -> Iterator[str]:
    """Name the columns that are not there."""
    for name in names:
        if name not in table.columns:
            yield f"{table.label} has no column {name}{_meant(name, table.columns)}: correct its name in the rule."


def written_misfits(table: Table, names: Iterable[str], *, nulled: bool = False) -> Iterator[str]:
    """Say which columns cannot be given a value, or not NULL."""
    for name in names:
        found = table.columns.get(name)
        if found is None:
            continue
        if found.generated:
            yield f"{table.label}.{name} is generated from other columns: it cannot be written."
        if nulled and not found.nullable:
            yield f"{table.label}.{name} is NOT NULL, so it cannot be made NULL: choose quarantine, or only report."
        if name in table.primary_key:
            yield f"{table.label}.{name} is of the primary key: it is never changed."


def only_misfits(table: Table, conditions: Sequence[Condition]) -> Iterator[str]:
    """Say which conditions do not fit the columns."""
    yield from column_misfits(table, [each.column for each in conditions])
    for each in conditions:
        found = table.columns.get(each.column)
        if found and each.holds.endswith("_minutes") and found.category != "D":
            yield f"{table.label}.{each.column} is {found.type}, and {each.holds} needs a moment."
        if found and each.holds.endswith("_minutes") and not isinstance(each.value, int | float):
            yield f"{table.label}.{each.column}: {each.holds} needs a number of minutes."


def pair_misfits(here: Table, mine: Sequence[str], there: Table, theirs: Sequence[str]) -> Iterator[str]:
    """Say which columns cannot be compared."""
    for one, other in zip(mine, theirs, strict=True):
        left, right = here.columns.get(one), there.columns.get(other)
        if left and right and not _alike(left.type, right.type):
            yield (
                f"{here.label}.{one} is {left.type} and {there.label}.{other} is {right.type}: they cannot be compared."
            )


def unique_misfits(table: Table, names: Sequence[str]) -> Iterator[str]:
    """Say that columns are no unique key."""
    if all(name in table.columns for name in names) and not is_unique(table, names):
        listed = ", ".join(names)
        yield f"{listed} of {table.label} is no unique key: CREATE UNIQUE INDEX on it, or name one that is."


def is_unique(table: Table, names: Iterable[str]) -> bool:
    """Whether no two rows can have the same values in these columns (NULLs apart)."""
    given = set(names)
    return any(set(key) <= given for key in table.unique)


def index_note(table: Table, names: Sequence[str]) -> Iterator[str]:
    """Say that an index is missing without which each batch reads the whole table."""
    wanted = set(names)
    if not any(set(index[: len(wanted)]) == wanted for index in table.indexed):
        listed = ", ".join(names)
        yield f"{table.label} has no index on {listed}: each batch reads the whole table. CREATE INDEX CONCURRENTLY."


def write_notes(table: Table) -> Iterator[str]:
    """Say what else happens when rows of the table are written."""
    if table.triggers:
        yield f"Triggers of {table.label} fire: {', '.join(table.triggers)}."


def quoted(table: Table) -> str:
    """Write its name as in SQL."""
    return table.identifier.as_string()


def _alike(one: str, other: str) -> bool:
    left, right = (name.partition("(")[0].strip() for name in (one, other))
    return left == right or any(left in kin and right in kin for kin in _KIN)


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
