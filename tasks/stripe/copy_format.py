"""How a value is written as text, as PostgreSQL's COPY does, so that two sides are compared as lines. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

NULL = "\\N"
_ESCAPED = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\b": "\b", "\\f": "\f", "\\v": "\v", "\\\\": "\\"}
#: PostgreSQL cannot keep the character 0.
_WRITTEN = str.maketrans({plain: written for written, plain in _ESCAPED.items()} | {"\0": ""})


def text(value: str | None) -> str:
    """Write a text as COPY does."""
    if value is None:
        return NULL
    if "\\" not in value and value.isprintable():
        return value
    return value.translate(_WRITTEN)


def whole(value: int | None) -> str:
    """Write a number."""
    return NULL if value is None else str(value)


def truth(value: bool | None) -> str:
    """Write yes or no."""
    return NULL if value is None else "t" if value else "f"


@lru_cache(maxsize=10_000)
def moment(seconds: int | None) -> str:
    """Write a time, which Stripe gives in whole seconds."""
    return NULL if seconds is None else f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)}+00"


def plain(value: str) -> str | None:
    """Read a value as COPY writes it."""
    if value == NULL:
        return None
    if "\\" not in value:
        return value
    parts, at = [], 0
    while at < len(value):
        pair = value[at : at + 2]
        parts.append(_ESCAPED.get(pair, value[at]))
        at += 2 if pair in _ESCAPED else 1
    return "".join(parts)
