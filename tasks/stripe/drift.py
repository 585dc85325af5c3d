"""The two sides, held against each other row by row: both are sorted by id, so each is read once. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from tasks.stripe.copy_format import plain

Operation = Literal["insert", "update", "revive", "tombstone"]


class Theirs(NamedTuple):
    """What a row should be."""

    id: str
    line: str
    observed: float
    hint: str = ""  #: of a customer: the user that Stripe's metadata names


class Ours(NamedTuple):
    """What a row is."""

    id: str
    line: str
    deleted: bool
    observed: str
    inside: bool = True  #: it is of the time that is compared; one that is not is never missed


class Difference(NamedTuple):
    """One row that is not as Stripe says."""

    id: str
    operation: Operation
    new: str
    old: str
    observed: float
    old_observed: str
    hint: str = ""


def differences(theirs: Iterator[Theirs], ours: Iterator[Ours]) -> Iterator[Difference]:
    """Go through both sides; what only we have is a tombstone to be confirmed."""
    one, other = next(theirs, None), next(ours, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.id < other.id):
            assert one is not None  # noqa: S101 - one of them is there
            yield Difference(one.id, "insert", one.line, "", one.observed, "", one.hint)
            one = next(theirs, None)
        elif one is None or other.id < one.id:
            if not other.deleted and other.inside:
                yield Difference(other.id, "tombstone", other.line, other.line, 0.0, other.observed)
            other = next(ours, None)
        else:
            if other.deleted or one.line != other.line:
                operation: Operation = "revive" if other.deleted else "update"
                yield Difference(one.id, operation, one.line, other.line, one.observed, other.observed, one.hint)
            one, other = next(theirs, None), next(ours, None)


def told_at(observed: str) -> float:
    """Read when Stripe was last asked about a row, in seconds; long ago when that was never noted."""
    try:
        return datetime.fromisoformat(observed).timestamp()
    except ValueError:  # infinity, or NULL
        return math.inf if observed == "infinity" else -math.inf


def changed_fields(fields: Sequence[str], difference: Difference) -> dict[str, tuple[str | None, str | None]]:
    """Give old and new value of every field that differs; of a new row, of every field."""
    new = difference.new.split("\t")
    if difference.operation == "insert":
        return {field: (None, plain(value)) for field, value in zip(fields, new, strict=True)}
    if difference.operation == "tombstone":
        return {"deleted": ("no", "yes")}
    pairs = zip(fields, difference.old.split("\t"), new, strict=True)
    found = {field: (plain(old), plain(value)) for field, old, value in pairs if old != value}
    return found | ({"deleted": ("yes", "no")} if difference.operation == "revive" else {})
