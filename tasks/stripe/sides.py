"""The two sides of a comparison, open: every account at Stripe, and the application's tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from blocks.app_rows import SyncedRows
from blocks.stripe_api import StripeApi
from tasks.stripe.clock import database_clock
from tasks.stripe.compare import Comparison
from tasks.stripe.kinds import TABLES, fields_of
from tasks.stripe.looks import Looks
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.reach import Reach
from tasks.stripe.shelf import Shelf
from tasks.stripe.spool import Spool
from tasks.stripe.sweep import Reading, Say, Sweep
from tasks.stripe.tail import Tail
from tasks.stripe.windows import Windows

DAY_SECONDS = 86_400
AHEAD_SECONDS = 86_400  #: Stripe's clock may be ahead of the database's
PART_SECONDS = 90 * DAY_SECONDS  #: what a payment is joined of may be so much older than it


@dataclass(frozen=True)
class Sides:
    """What a comparison speaks to."""

    at: Reach
    policy: ResyncPolicy
    apis: Mapping[str, StripeApi]  #: by account
    looks: Looks
    since: int

    @property
    def kinds(self) -> list[str]:
        """Name the lists that are needed."""
        return [kind.name for table in self.policy.objects for kind in TABLES[table]]

    def tails(self) -> list[Tail]:
        """Give the events of every account since the beginning."""
        return [Tail(account, api, self.looks, self.since) for account, api in self.apis.items()]

    def comparisons(self) -> list[Comparison]:
        """Give every table against what was listed for it."""
        rows = (SyncedRows(self.at.database, table, fields_of(table)) for table in self.policy.objects)
        return [Comparison(each, self.looks.spool, self.since) for each in rows]

    def listed(self, say: Say) -> Sweep:
        """Read all lists of all accounts, or what is left of them."""
        until, spool = int(self.looks.clock()) + AHEAD_SECONDS, self.looks.spool
        lists = []
        for account, api in self.apis.items():
            for table in self.policy.objects:
                for kind in TABLES[table]:
                    first = self.since if kind is TABLES[table][0] else max(0, self.since - PART_SECONDS)
                    place = f"{account}/{kind.name}"
                    windows = spool.windows(place) or Windows.whole(first, until)
                    lists.append(Reading(place, api, kind, windows))
        sweep = Sweep(spool, lists, self.looks.clock, say)
        sweep.run(self.policy.workers)
        return sweep


@contextmanager
def opened(at: Reach, policy: ResyncPolicy, apis: Mapping[str, StripeApi]) -> Iterator[Sides]:
    """Begin a comparison, or go on with one that was begun and not ended."""
    since = _midnight() - policy.since_days * DAY_SECONDS if policy.since_days else 0
    shelf = Shelf(at.folder)
    spool = shelf.take(_asked(at, policy, since))
    try:
        yield sides_of(at, policy, apis, spool)
    finally:
        spool.close()
        shelf.release()


def sides_of(at: Reach, policy: ResyncPolicy, apis: Mapping[str, StripeApi], spool: Spool) -> Sides:
    """Speak to both sides, with what SPOOL knows."""
    looks = Looks(tuple(apis.values()), spool, database_clock(at.database), policy.workers)
    return Sides(at, policy, apis, looks, int(spool.noted("asked")["since"]))


def row_of_part(spool: Spool, kind: str, object_id: str) -> tuple[str, str]:
    """Name the row that an object is in: of a charge, its payment's."""
    table = next(table for table, kinds in TABLES.items() if kind in {each.name for each in kinds})
    part = kind != TABLES[table][0].name
    return table, (spool.key(kind, object_id) or object_id) if part else object_id


def _asked(at: Reach, policy: ResyncPolicy, since: int) -> dict[str, object]:
    return {
        "accounts": list(at.accounts),
        "version": at.account.api_version,
        "objects": list(policy.objects),
        "since": since,
        "fields": {table: list(fields_of(table)) for table in policy.objects},
    }


def _midnight() -> int:
    return int(time.time()) // DAY_SECONDS * DAY_SECONDS
