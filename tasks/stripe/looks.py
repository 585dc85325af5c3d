"""Ask Stripe for single objects by their ids, of whichever account they are, and keep what it says of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeMissing
from tasks.stripe.clock import Clock
from tasks.stripe.kinds import CHARGES, INTENTS, INVOICE_PAYMENTS, ITEMS, Kind
from tasks.stripe.shapes import Deleted, Items, N
from tasks.stripe.spool import Spool
from tasks.stripe.windows import PAGE

#: The lists that a payment is joined of beside its own, and how those of one payment are asked for.
PARTS: tuple[tuple[Kind[Any], dict[str, Any]], ...] = (
    (CHARGES, {}),
    (INVOICE_PAYMENTS, {"type": "payment_intent"}),
)


@dataclass(frozen=True)
class Looks:
    """Who is asked, and where the answers are kept."""

    apis: tuple[StripeApi, ...]  #: one for each account; the id of an object is unique over all of them
    spool: Spool
    clock: Clock
    workers: int

    def at(self, api: StripeApi) -> Looks:
        """Ask one account only."""
        return replace(self, apis=(api,))

    def follow(self, objects: Sequence[tuple[Kind[Any], str]], since: int) -> None:
        """Ask again for objects that changed, unless they are of before SINCE and so none of what is compared."""
        self._each([(kind, each, since) for kind, each in objects])

    def find(self, objects: Sequence[tuple[Kind[Any], str]]) -> None:
        """Ask for objects of any age, each with all that its row is made of; one that no account has is gone."""
        self._each([(kind, each, None) for kind, each in objects])

    def _each(self, objects: Sequence[tuple[Kind[Any], str, int | None]]) -> None:
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for _ in pool.map(lambda each: self._one(*each), objects):
                    pass
            except BaseException:
                for api in self.apis:  # what waits behind the first error is not asked any more
                    api.stopped.set()
                raise

    def _one(self, kind: Kind[N], object_id: str, since: int | None) -> None:
        observed = self.clock()
        for api in self.apis if object_id else ():
            try:
                each = api.read(f"/v1/{kind.name}/{quote(object_id, safe='')}", kind.found)
            except StripeMissing:
                continue
            if isinstance(each, Deleted):
                break
            self._keep(api, kind, each, observed, since)
            return
        self.spool.gone(kind.name, object_id, observed)

    def _keep(self, api: StripeApi, kind: Kind[N], each: N, observed: float, since: int | None) -> None:
        if since is None and kind is INTENTS:
            self._parts(api, each.id)
        part = kind in (CHARGES, INVOICE_PAYMENTS)  # it may be older than its payment, which alone counts
        if since is None or part or each.created >= since or self.spool.known(kind.name, each.id):
            self.spool.put(kind.name, [row_of(kind, with_all_items(api, each), observed)])

    def _parts(self, api: StripeApi, intent: str) -> None:
        for kind, named in PARTS:
            observed, asked = self.clock(), {"payment_intent": intent} | named
            params: dict[str, Any] = {"payment": asked} if named else asked
            more = True
            while more:
                page = api.read(f"/v1/{kind.name}", kind.page, {"limit": PAGE, **params})
                self.spool.put(kind.name, [row_of(kind, each, observed) for each in page.data])
                more = page.has_more and bool(page.data)
                params |= {"starting_after": page.data[-1].id} if more else {}


def with_all_items(api: StripeApi, each: N) -> N:
    """Give an object with all its items: a long list of them comes in pages of its own."""
    items = getattr(each, "items", None)
    if items is None or not items.has_more:
        return each
    found = list(items.data)
    while items.has_more:
        params = {"subscription": each.id, "limit": PAGE, "starting_after": found[-1].id}
        items = api.read("/v1/subscription_items", ITEMS, params)
        found += items.data
    return each.model_copy(update={"items": Items(data=found)})


def row_of(kind: Kind[N], each: N, observed: float) -> tuple[str, str, str, float]:
    """Give what is kept of an object: id, what it is joined by, its values as a line, when it was asked for."""
    return each.id, kind.key(each), "\t".join(kind.values(each)), observed


def ids_of(kind: Kind[Any], ids: Iterable[str]) -> list[tuple[Kind[Any], str]]:
    """Name objects of one list."""
    return [(kind, each) for each in ids]
