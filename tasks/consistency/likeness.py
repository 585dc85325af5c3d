"""Which columns can be compared, and which values a column can have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from blocks.live_catalog import Column, Table
from blocks.rules import Condition, Value

WHOLE = ("smallint", "integer", "bigint")
TEXTS = ("text", "character varying", "character", "name", "citext")
MOMENTS = ("timestamp with time zone", "timestamp without time zone", "date")
#: Types of different names that are compared with `=` all the same.
_KIN = ({*WHOLE, "numeric", "real", "double precision"}, set(TEXTS), set(MOMENTS))
#: Types that a foreign key may join though their names differ.
_JOINED = (set(WHOLE), {"real", "double precision"}, {"text", "character varying"}, set(MOMENTS))
#: Types without an equality of their own, or with one that means something else (of the area, of the length); they are
#: compared as text.
NO_EQUALITY = frozenset({"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"})
LONGEST_MINUTES = 1_000_000_000  #: 1,900 years; PostgreSQL counts no further back than 6,700
_TRUTHS = {"true", "false", "t", "f", "yes", "no", "y", "n", "on", "off", "1", "0"}


def alike(one: Column, other: Column) -> bool:
    """Whether `=` compares them."""
    return one.kind == other.kind or any(one.kind in kin and other.kind in kin for kin in _KIN)


def joined(child: Column, parent: Column) -> bool:
    """Whether a foreign key may lead from one to the other."""
    return child.kind == parent.kind or any(child.kind in kin and parent.kind in kin for kin in _JOINED)


def loses(here: Column, there: Column) -> bool:
    """Whether a copy may differ from what it is a copy of, so that it would be found again for ever."""
    if here.kind == there.kind:
        return here.type != there.type and here.kind not in TEXTS and "(" in here.type
    if here.kind in TEXTS:
        return False
    if here.kind in MOMENTS:
        return "(" in here.type or here.kind == "date"
    order = {kind: place for place, kind in enumerate((*WHOLE, "numeric"))}
    if here.kind == "double precision":
        return there.kind in ("numeric", "bigint")
    return "(" in here.type or order.get(here.kind, -1) <= order.get(there.kind, len(order))


def has_equality(column: Column) -> bool:
    """Whether `=` says that two values are the same."""
    return column.kind.removesuffix("[]") not in NO_EQUALITY


def moment_misfits(table: Table, name: str, needed_by: str) -> Iterator[str]:
    """Say that a column is no moment."""
    found = table.columns.get(name)
    if found and found.kind not in MOMENTS:
        yield f"{table.label}.{name} is {found.type}, and {needed_by} needs a date or a timestamp."


def equality_misfits(table: Table, names: Iterable[str], needed_by: str) -> Iterator[str]:
    """Say that columns cannot tell rows apart or bring them into an order."""
    for name in names:
        found = table.columns.get(name)
        if found and not has_equality(found):
            yield f"{table.label}.{name} is {found.type}, which has no equality: it cannot be {needed_by}."


def as_text_note(table: Table, name: str) -> Iterator[str]:
    """Say that a column is compared letter by letter."""
    if not has_equality(table.columns[name]):
        kind = table.columns[name].type
        yield f"{table.label}.{name} is {kind}: it is compared as text, so other spacing differs."


def condition_misfits(table: Table, condition: Condition) -> Iterator[str]:
    """Say why a column cannot be compared with the value."""
    found, value = table.columns.get(condition.column), condition.value
    if found is None or condition.value is None:
        return
    if condition.holds.endswith("_minutes"):
        yield from moment_misfits(table, found.name, condition.holds)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= LONGEST_MINUTES:
            yield f"{table.label}.{found.name}: {condition.holds} needs a number of minutes, {LONGEST_MINUTES} at most."
        return
    for each in value if isinstance(value, tuple) else [value]:
        yield from value_misfits(table, found.name, each)


def value_misfits(table: Table, name: str, value: Value) -> Iterator[str]:
    """Say why a column cannot have the value. What YAML makes of NO, 007 or 1:30 must not be taken for text."""
    found = table.columns.get(name)
    if found is None or value is None or _fits(found, value):
        return
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    remedy = "write the value in quotes" if not isinstance(value, str) else "correct the value"
    yield f"{table.label}.{name} is {found.type}, and {written} is no value of it: {remedy}."


def _fits(column: Column, value: Value) -> bool:
    if column.kind == "boolean":
        return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _TRUTHS)
    if isinstance(value, str):
        return column.category != "N" or _is_number(column, value)
    number = not isinstance(value, bool) and column.category == "N"
    return number and (column.kind not in WHOLE or isinstance(value, int))


def _is_number(column: Column, value: str) -> bool:
    if column.kind not in (*WHOLE, "numeric", "real", "double precision"):
        return True
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        return False
    return column.kind not in WHOLE or (number.is_finite() and value.strip().lstrip("+-").isdigit())
