"""The pieces of SQL that the kinds of rules have in common. Pure.

A row that is looked at is always `t`. Statements are composed with their values in them and sent without parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from psycopg import sql

from blocks.live_catalog import Table
from blocks.rules import Condition, Value
from tasks.consistency.likeness import has_equality

_COMPARISONS = {"equal": "=", "different": "<>", "less": "<", "more": ">"}
AND, OR, COMMA = sql.SQL(" AND "), sql.SQL(" OR "), sql.SQL(", ")
EVIDENCE_CHARACTERS = 200  #: of each value; a text of megabytes is no evidence


def column(name: str, alias: str = "t") -> sql.Composed:
    """Name a column of a row."""
    return sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name))


def columns(names: Iterable[str], alias: str = "t") -> sql.Composed:
    """List columns of a row."""
    return COMMA.join(column(name, alias) for name in names)


def all_of(parts: Iterable[sql.Composable]) -> sql.Composed:
    """Ask for all of it."""
    found = [sql.SQL("({})").format(part) for part in parts]
    return AND.join(found) if found else sql.Composed([sql.SQL("true")])


def any_of(parts: Iterable[sql.Composable]) -> sql.Composed:
    """Ask for any of it."""
    return OR.join(sql.SQL("({})").format(part) for part in parts)


def known(names: Iterable[str], alias: str = "t") -> sql.Composed:
    """Ask that none of the columns is NULL."""
    return all_of(sql.SQL("{} IS NOT NULL").format(column(name, alias)) for name in names)


def same(pairs: Mapping[str, str], other: str) -> sql.Composed:
    """Ask that columns of `t` equal those of another row."""
    return all_of(sql.SQL("{} = {}").format(column(theirs, other), column(mine, "t")) for mine, theirs in pairs.items())


def ago(name: str, minutes: float, alias: str = "t") -> sql.Composed:
    """Ask that a moment is so many minutes ago."""
    return sql.SQL("{} < now() - make_interval(secs => {})").format(column(name, alias), sql.Literal(minutes * 60))


def holds(condition: Condition, table: Table, alias: str = "t") -> sql.Composed:
    """Ask what a condition asks."""
    it, value = column(condition.column, alias), condition.value
    if condition.holds in ("null", "present"):
        return sql.SQL("{} IS NULL" if condition.holds == "null" else "{} IS NOT NULL").format(it)
    if condition.holds == "empty":
        return empty(condition.column, table, alias)
    if condition.holds in ("older_than_minutes", "newer_than_minutes"):
        older = ago(condition.column, float(str(value)), alias)
        return older if condition.holds == "older_than_minutes" else sql.SQL("NOT ({})").format(older)
    if isinstance(value, tuple):
        word = sql.SQL("IN" if condition.holds == "one_of" else "NOT IN")
        return sql.SQL("{} {} ({})").format(
            comparable(condition.column, table, alias), word, COMMA.join(map(literal, value))
        )
    return sql.SQL("{} {} {}").format(
        comparable(condition.column, table, alias), sql.SQL(_COMPARISONS[condition.holds]), literal(value)
    )


def only(conditions: Sequence[Condition], table: Table, alias: str = "t") -> list[sql.Composed]:
    """Ask what the rule is limited to."""
    return [holds(each, table, alias) for each in conditions]


def empty(name: str, table: Table, alias: str = "t") -> sql.Composed:
    """Ask that a column is NULL, or text without a visible character."""
    it = column(name, alias)
    if table.columns[name].category == "S":
        return sql.SQL(r"{0} IS NULL OR {0} !~ '\S'").format(it)
    return sql.SQL("{} IS NULL").format(it)


def literal(value: Value) -> sql.Composable:
    """Write a value, whose type PostgreSQL finds from what it is compared with or given to."""
    if value is None:
        return sql.SQL("NULL")
    return sql.Literal(str(value).lower() if isinstance(value, bool) else str(value))


def comparable(name: str, table: Table, alias: str) -> sql.Composed:
    """Name a column so that it can be compared."""
    it = column(name, alias)
    return it if has_equality(table.columns[name]) else sql.SQL("{}::text").format(it)


def shown(names: Iterable[str], alias: str = "t") -> sql.Composed:
    """Write the columns of a row as evidence: `user_id 7, status open`."""
    each = [sql.SQL("{} || {}").format(sql.Literal(f"{name} "), value_text(name, alias)) for name in names]
    return sql.SQL(" || ', ' || ").join(each)


def value_text(name: str, alias: str = "t") -> sql.Composed:
    """Write a value so that a person can read it; blank text would look as if something were missing."""
    return sql.SQL(
        r"CASE WHEN {0} IS NULL THEN 'NULL' WHEN {0}::text ~ '\S' THEN left({0}::text, {1}) ELSE 'empty' END"
    ).format(column(name, alias), sql.Literal(EVIDENCE_CHARACTERS))


def key_text(table: Table, alias: str = "t") -> list[sql.Composed]:
    """Give the columns of the primary key as text."""
    return [sql.SQL("{}::text").format(column(name, alias)) for name in table.primary_key]


def fence_name(table: Table, parts: Sequence[str]) -> str:
    """Name what Salvor adds to a table; a name of PostgreSQL has 63 bytes, and no letter may be cut in two."""
    short = table.name.encode()[:40].decode(errors="ignore")
    return f"salvor_{short}_{sha256(repr(tuple(parts)).encode()).hexdigest()[:8]}"


def rows(table: Table, evidence: sql.Composable, where: sql.Composable) -> sql.Composed:
    """Find rows: their key as text, then the evidence."""
    wanted = COMMA.join([*key_text(table), evidence])
    return sql.SQL("SELECT {} FROM {} t WHERE {}").format(wanted, table.identifier, where)


def given_keys(table: Table, keys: Sequence[Sequence[str]]) -> sql.Composed:
    """Give keys, written as text, as rows `k` that the index of the primary key can be asked for."""
    names, types = table.primary_key, [sql.SQL(table.columns[name].type) for name in table.primary_key]
    texts = [sql.Literal([key[place] for key in keys]) for place in range(len(names))]
    if not any(table.columns[name].kind.endswith("[]") for name in names):
        arrays = [sql.SQL("{}::{}[]").format(*each) for each in zip(texts, types, strict=True)]
        return sql.SQL("unnest({}) AS k ({})").format(COMMA.join(arrays), COMMA.join(map(sql.Identifier, names)))
    # An array of arrays has no text of its own: each is read by itself.
    read = [sql.SQL("{}::{}").format(column(name, "g"), type_) for name, type_ in zip(names, types, strict=True)]
    return sql.SQL("(SELECT {} FROM unnest({}) AS g ({})) AS k ({})").format(
        COMMA.join(read),
        COMMA.join(sql.SQL("{}::text[]").format(each) for each in texts),
        COMMA.join(map(sql.Identifier, names)),
        COMMA.join(map(sql.Identifier, names)),
    )
