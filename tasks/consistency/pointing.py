"""Which columns of a catalog seem to point to a key, by their names and types. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blocks.live_catalog import Catalog, ForeignKey, Table
from tasks.consistency.fitting import is_unique, pair_misfits
from tasks.consistency.naming import OF_ITS_OWN_TABLE, Said, forms, said_by, snake, tails, type_column
from tasks.consistency.suggest_state import Counter, Guess, Passed, Sureness

POINTING_CATEGORIES = frozenset("NSU")  #: numbers, text, and what has a category of its own: uuid
NAMED = 4

Target = tuple[Table, str]


def pointing(catalog: Catalog, only: Iterable[str] = ()) -> Iterator[Guess | Passed]:
    """Judge every column of the tables, or of those that are named, that no valid foreign key makes sure of."""
    tables = _readable(catalog)
    wanted = set(only)
    for table in tables.values():
        if not wanted or table.name in wanted:
            yield from _of_table(table, tables)


def constrained(table: Table) -> set[str]:
    """Name the columns that a foreign key is on."""
    return {column for key in table.outgoing for column in key.columns}


def counters(catalog: Catalog, only: Iterable[str] = ()) -> Iterator[Counter | Passed]:
    """Name the columns that a sequence fills and whose largest value is quickly found."""
    wanted = set(only)
    for table in _readable(catalog).values():
        if wanted and table.name not in wanted:
            continue
        for column in table.columns.values():
            if not column.sequence:
                continue
            if any(index[:1] == (column.name,) for index in table.indexed):
                yield Counter(table=table.name, column=column.name)
            else:
                why = "no index begins with it, so that to find its largest value reads the whole table"
                yield Passed(table=table.name, column=column.name, why=f"a sequence fills it, but {why}")


def _readable(catalog: Catalog) -> dict[str, Table]:
    # A rule writes schema.table, so a dot in a name cannot be said in one.
    return {name: table for name, table in catalog.tables.items() if table.readable and "." not in table.name}


def _of_table(table: Table, tables: dict[str, Table]) -> Iterator[Guess | Passed]:
    for key in table.outgoing:
        if not key.validated and (parent := _parent_of(key, tables)):
            yield Guess(
                table=table.name,
                columns=key.columns,
                parent=parent.name,
                parent_columns=key.parent_columns,
                why=f"its foreign key {key.name} is NOT VALID: older rows were never looked at",
                sure="sure",
            )
    taken = constrained(table)
    for column in table.columns.values():
        if column.name not in taken and column.category in POINTING_CATEGORIES and (said := said_by(column.name)):
            yield from _of_column(table, column.name, said, tables)


def _parent_of(key: ForeignKey, tables: dict[str, Table]) -> Table | None:
    for table in tables.values():
        quoted = table.identifier.as_string()
        if key.parent in {table.name, f"{table.schema}.{table.name}", quoted, quoted.rpartition(".")[2]}:
            return table
    return None


def _of_column(table: Table, column: str, said: Said, tables: dict[str, Table]) -> Iterator[Guess | Passed]:
    if _is_own_key(table, column, said):
        return
    if typed := type_column(said, {snake(name): name for name in table.columns}):
        yield Passed(table=table.name, column=column, why=f"{typed} says to which table it points: one rule for each")
        return
    unlike: list[str] = []
    for sure, why, targets in _ranked(table, column, said, tables):
        alike = [target for target in targets if not _unlike(table, column, target, unlike)]
        if len(alike) == 1:
            yield _guess(table, column, alike[0], why, sure)
            return
        if alike:
            named = ", ".join(f"{each.name}.{key}" for each, key in alike[:NAMED])
            yield Passed(table=table.name, column=column, why=f"several keys could be meant: {named}")
            return
    if unlike:
        yield Passed(table=table.name, column=column, why=unlike[0].rstrip("."))
    elif said.plainly and not is_unique(table, [column]):
        yield Passed(table=table.name, column=column, why="no table is named after it, and no key has its name")


def _is_own_key(table: Table, column: str, said: Said) -> bool:
    return is_unique(table, [column]) and snake(table.name) in forms(said.stem)


def _guess(table: Table, column: str, target: Target, why: str, sure: Sureness) -> Guess:
    parent, key = target
    return Guess(
        table=table.name, columns=(column,), parent=parent.name, parent_columns=(key,), why=why, sure=sure
    )  # fmt: skip


def _unlike(table: Table, column: str, target: Target, said: list[str]) -> bool:
    found = list(pair_misfits(table, [column], target[0], [target[1]]))
    said += found
    return bool(found)


def _ranked(
    table: Table, column: str, said: Said, tables: dict[str, Table]
) -> Iterator[tuple[Sureness, str, list[Target]]]:
    """Give the keys that may be meant, the best guess first."""
    names = forms(said.stem)
    yield (
        "sure",
        "the table has its name",
        _keys(table, column, said, [t for n, t in tables.items() if snake(n) in names]),
    )
    yield "likely", "a key has the same name", _namesakes(table, column, tables)
    for tail in tails(said.stem) if said.plainly else ():
        named = [t for n, t in tables.items() if snake(n) in forms(tail)]
        yield "likely", "the table has the end of its name", _keys(table, column, said, named)
    ends = tuple(f"_{name}" for name in names)
    longer = [t for n, t in tables.items() if said.plainly and snake(n).endswith(ends)]
    yield "perhaps", "the name of the table ends like it", _keys(table, column, said, longer)
    if said.stem in OF_ITS_OWN_TABLE or said.stem.endswith(tuple(f"_{role}" for role in OF_ITS_OWN_TABLE)):
        yield "perhaps", "it names another row of the same table", _keys(table, column, said, [table])


def _keys(table: Table, column: str, said: Said, parents: list[Table]) -> list[Target]:
    """Give of each table every key of one column by which such a column would point to it, if its type is right."""
    found = []
    for parent in parents:
        primary = parent.primary_key if len(parent.primary_key) == 1 else ()
        keys = dict.fromkeys([said.what, "id", column, f"{said.stem}_{said.what}", *primary])
        usable = [key for key in keys if (key,) in parent.unique and (parent.name, key) != (table.name, column)]
        right = [key for key in usable if not list(pair_misfits(table, [column], parent, [key]))]
        found += [(parent, key) for key in (right or usable)[:1]]
    return found


def _namesakes(table: Table, column: str, tables: dict[str, Table]) -> list[Target]:
    # When it is unique on both sides, nothing says which of the two comes first.
    if is_unique(table, [column]):
        return []
    return [(other, column) for other in tables.values() if other.name != table.name and (column,) in other.unique]
