"""One comparison from beginning to end, and the second one after a repair."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from blocks import app_audit
from tasks.stripe.compare import Comparison, Listing, ask_again
from tasks.stripe.owners import doubled_users, find_parents, owners
from tasks.stripe.sides import Sides, row_of_part
from tasks.stripe.state import Drift, Repaired, ResyncPlan, TableDrift
from tasks.stripe.tail import catch_up

Say = Callable[[str, float], None]
ROUNDS = 3
LISTED, FOLLOWED, COMPARED, AGAIN = 60, 65, 75, 90  #: percent of the run, about; the acts come before the last
NAMED = 100


def compared(sides: Sides, listing: Listing, say: Say) -> Drift:
    """List, follow what happened meanwhile, compare."""
    begun, tails, spool = time.monotonic(), sides.tails(), sides.looks.spool
    sweep = sides.listed(lambda said, share: say(said, LISTED * share))
    seconds = time.monotonic() - begun
    say("Following what changed while it was listed", LISTED)
    moment = catch_up(tails, sides.kinds)
    say("Comparing with the application's rows", FOLLOWED)
    tables, owned = _settled(sides, listing)
    spool.note("complete", True)
    say("Compared", COMPARED)
    return Drift(
        resource=sides.at.resource,
        at=datetime.fromtimestamp(moment, UTC),
        account=sides.at.account.account,
        connected=len(sides.apis) - 1,
        tables=tuple(tables),
        unknown=tuple(f"{status} ({number:,})" for status, number in sorted(sweep.unknown.items())),
        spool=str(spool.path),
        file=str(listing.path),
        digest=listing.digest,
        requests=sum(api.requests for api in sides.apis.values()),
        refusals=sum(api.refusals for api in sides.apis.values()),
        seconds=seconds,
        events=sum(tail.events for tail in tails),
        **owned,
    )


def _settled(sides: Sides, listing: Listing) -> tuple[list[TableDrift], dict[str, Any]]:
    """Compare until no row is in doubt: not listed, of a later look than ours, or the parent that a payment lacks."""
    comparisons, turn = sides.comparisons(), 0
    while True:
        turn += 1
        with sides.at.database.reading() as connection:
            tables = listing.write(connection, comparisons)
            owned = owners(sides.at.database, connection, sides.looks.spool, sides.policy)
        asked = ask_again(comparisons, sides.looks) | find_parents(owned["orphans"], sides.looks)
        if not asked or turn == ROUNDS:
            return tables, owned


@dataclass
class _Named:
    """Rows, the first of them by name."""

    rows: list[str] = field(default_factory=list)
    number: int = 0

    def add(self, row: str) -> None:
        self.number += 1
        if self.number <= NAMED:
            self.rows.append(row)


def compared_again(sides: Sides, plan: ResyncPlan, run_id: str) -> Repaired:
    """Follow what happened since, and compare without it."""
    tails = sides.tails()
    moment = catch_up(tails, sides.kinds)
    moving = {row_of_part(sides.looks.spool, *each) for tail in tails for each in tail.changed}
    comparisons, turn, found = sides.comparisons(), 0, None
    while found is None or (ask_again(comparisons, sides.looks) and turn < ROUNDS):
        turn += 1
        found = _held(sides, plan, moving, comparisons)
    with sides.at.database.reading() as connection:
        duplicates, _ = doubled_users(sides.at.database, connection, sides.looks.spool, sides.policy)
        audited = app_audit.count(connection, run_id) if app_audit.exists(connection) else 0
    left, late = found
    return Repaired(
        at=datetime.fromtimestamp(moment, UTC),
        tables=tuple(comparison.drift() for comparison in comparisons),
        left=tuple(left.rows),
        left_rows=left.number,
        moving=tuple(late.rows),
        moving_rows=late.number,
        duplicates=duplicates,
        audited=audited,
    )


def _held(
    sides: Sides, plan: ResyncPlan, moving: set[tuple[str, str]], comparisons: list[Comparison]
) -> tuple[_Named, _Named]:
    left, late = _Named(), _Named()
    with sides.at.database.reading() as connection:
        for comparison in comparisons:
            name = comparison.rows.name
            for each in comparison.differences(connection):
                if (name, each.id) in moving:
                    comparison.counts[each.operation] -= 1
                    late.add(f"{name} {each.id}")
                elif each.operation in plan.operations:
                    left.add(f"{name} {each.id}")
    return left, late
