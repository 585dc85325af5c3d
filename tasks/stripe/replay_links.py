"""Which invoice a payment pays: since 2025-03-31 the payment does not say, and asking for each doubles the cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeMissing
from tasks.stripe.decide_replay import worth_listing

PAGE = 100
Links = Mapping[str, str | None]  #: invoice by payment; None for a payment that pays none


def listed_links(api: StripeApi, payments: Iterable[str]) -> dict[str, str | None]:
    """List links, newest first, while a page tells more than single requests would; of the rest nothing is said."""
    wanted, found, links = set(payments), None, dict[str, str | None]()
    params: dict[str, Any] = {"limit": PAGE}
    while worth_listing(len(wanted), found):
        try:
            page = from_json(api.get("/v1/invoice_payments", params))
        except StripeMissing:  # the link behind which the list went on is gone
            return links
        mine = {_payment(each): each.get("invoice") for each in page["data"] if _payment(each) in wanted}
        links |= mine
        wanted -= set(mine)
        found = len(mine)
        if not page.get("has_more") or not page["data"]:
            return links | dict.fromkeys(wanted)  # there are no others
        params["starting_after"] = page["data"][-1]["id"]
    return links


def link_of(api: StripeApi, payment: str) -> str | None:
    """Ask which invoice one payment pays."""
    asked = {"payment": {"type": "payment_intent", "payment_intent": payment}, "limit": 1}
    page = from_json(api.get("/v1/invoice_payments", asked))
    return next((each.get("invoice") for each in page["data"]), None)


def _payment(link: Mapping[str, Any]) -> str:
    return str((link.get("payment") or {}).get("payment_intent") or "")
