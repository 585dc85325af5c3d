"""What the name of a column says about the table that it points to. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_POINTS = re.compile(r"(?P<stem>.+?)(?P<joint>_?)(?P<what>id|uuid|guid)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "medium": "media"}
#: Roles of a row of the same table.
OF_ITS_OWN_TABLE = frozenset(
    {"parent", "root", "previous", "next", "predecessor", "successor", "original", "reply_to", "in_reply_to", "manager"}
)
#: Rails and Django tell by a second column of which table a row is meant.
_TYPED_BY = ("{stem}_type", "{stem}_kind", "{stem}_table", "{stem}_class")
_DJANGO = ("content_type_id", "content_type")


@dataclass(frozen=True)
class Said:
    """What a name says."""

    stem: str  #: the thing that is pointed to: user, billing_customer
    what: str  #: id, uuid or guid
    plainly: bool  #: `user_id` or `userId`; in `userid` it may be chance, as in `paid`


def said_by(column: str) -> Said | None:
    """Take a name such as customer_id apart; None when it does not look like one."""
    found = _POINTS.fullmatch(snake(column))
    return Said(found["stem"], found["what"], bool(found["joint"])) if found else None


def snake(name: str) -> str:
    """Write a name in small letters with underscores."""
    return _HUMP.sub("_", name.replace(" ", "_").replace("-", "_")).lower()


def forms(stem: str) -> frozenset[str]:
    """Give the names that a table of these things may have: user, users; category, categories; person, people."""
    before, _, word = stem.rpartition("_")
    front = stem[: len(stem) - len(word)] if before else ""
    return frozenset({stem, *(front + each for each in _plurals(word))})


def _plurals(word: str) -> Iterator[str]:
    yield f"{word}s"
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if word.endswith("y"):
        yield f"{word[:-1]}ies"
    if word.endswith("is"):
        yield f"{word[:-2]}es"
    if word.endswith(("ix", "ex")):
        yield f"{word[:-2]}ices"
    if word in _IRREGULAR:
        yield _IRREGULAR[word]


def tails(stem: str) -> list[str]:
    """Give what is left of a name without its role: created_by_user gives by_user and user, the longest first."""
    words = stem.split("_")
    return ["_".join(words[place:]) for place in range(1, len(words))]


def type_column(said: Said, columns: dict[str, str]) -> str:
    """Name the column that says of which table the row is; empty when there is none. COLUMNS: by their snake names."""
    wanted = [each.format(stem=said.stem) for each in _TYPED_BY]
    wanted += _DJANGO if said.stem == "object" else ()
    return next((columns[name] for name in wanted if name in columns), "")
