"""Make a pack into SQL for the catalog as it is, or say of each rule why not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from blocks.live_catalog import Catalog
from blocks.rules import Duplicate, Mismatch, Orphan, Pack, Rule
from tasks.consistency.checks import Check
from tasks.consistency.kinds import duplicate, expired, index, invalid, invariant, mismatch, orphan, sequence, stuck


class Kind(Protocol):
    """What a module of a kind has."""

    misfits: Any
    compiled: Any


KINDS: dict[str, Kind] = {
    "orphan": orphan,
    "duplicate": duplicate,
    "mismatch": mismatch,
    "missing": invalid,
    "invalid": invalid,
    "stuck": stuck,
    "expired": expired,
    "invariant": invariant,
    "index": index,
    "sequence": sequence,
}


@dataclass(frozen=True)
class Misfit:
    """A rule that does not fit the database, with every reason."""

    rule: Rule
    reasons: tuple[str, ...]


def compiled(rules: Iterable[Rule], catalog: Catalog) -> tuple[list[Check], list[Misfit]]:
    """Give the rules that fit as SQL, and those that do not with their reasons."""
    checks, misfits = [], []
    for rule in rules:
        kind = KINDS[rule.kind]
        reasons = tuple(dict.fromkeys(kind.misfits(rule, catalog)))
        if reasons:
            misfits.append(Misfit(rule, reasons))
        else:
            checks.append(kind.compiled(rule, catalog))
    return checks, misfits


def named(rules: Iterable[Rule]) -> set[str]:
    """Name every table that the rules speak of."""
    found: set[str] = set()
    for rule in rules:
        found |= {table for table in [getattr(rule, "table", None)] if table}
        found |= {rule.parent} if isinstance(rule, Orphan) else set()
        found |= {rule.source} if isinstance(rule, Mismatch) else set()
        found |= {pointer.table for pointer in rule.repoint} if isinstance(rule, Duplicate) else set()
    return found


def chosen(pack: Pack, names: Iterable[str]) -> tuple[list[Rule], list[str]]:
    """Give the rules that are NAMED, all when none is, in the pack's order; and the names that are of no rule."""
    wanted = set(names)
    known = {rule.name for rule in pack.rules}
    return [rule for rule in pack.rules if not wanted or rule.name in wanted], sorted(wanted - known)
