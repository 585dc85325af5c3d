"""The lists of Stripe, and how an object of each is written in the application's columns. Pure.

Money is whole minor units; a status is kept as Stripe says it, known or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import TypeAdapter

from tasks.stripe.copy_format import moment, text, truth, whole
from tasks.stripe.shapes import Charge, Customer, Deleted, Intent, Invoice, InvoicePayment, Items, N, Page, Subscription

#: The statuses that were known when this was written; another is kept, and said.
STATUSES: dict[str, frozenset[str]] = {
    "subscriptions": frozenset(
        {"incomplete", "incomplete_expired", "trialing", "active", "past_due", "canceled", "unpaid", "paused"}
    ),
    "invoices": frozenset({"draft", "open", "paid", "uncollectible", "void"}),
    "payments": frozenset(
        {
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
            "processing",
            "requires_capture",
            "canceled",
            "succeeded",
        }
    ),
}
#: A subscription in one of these still gives its customer something.
LIVE = frozenset({"trialing", "active", "past_due", "unpaid", "paused"})


@dataclass(frozen=True)
class Kind(Generic[N]):
    """One list of Stripe, and what is kept of each object."""

    name: str  #: as in /v1/…
    object: str  #: as in the field `object`
    page: TypeAdapter[Page[N]]
    one: TypeAdapter[N]
    found: TypeAdapter[N | Deleted]  #: what a retrieve answers
    values: Callable[[N], tuple[str, ...]]
    fields: tuple[str, ...]  #: what VALUES gives, as the mapping calls it
    params: tuple[tuple[str, str], ...] = ()
    key: Callable[[N], str] = lambda _each: ""  #: what it is joined by
    status: Callable[[N], str] = lambda _each: ""


def _customer(c: Customer) -> tuple[str, ...]:
    return text(c.email), text(c.currency), truth(c.delinquent), moment(c.created), truth(c.livemode)


def _subscription(s: Subscription) -> tuple[str, ...]:
    items = s.items.data
    first = items[0] if items else None
    return (
        text(s.customer),
        text(s.status),
        text(first.price.id if first and first.price else None),
        whole(first.quantity if first else None),
        # Stripe's own rule where one date must stand for all items (its list filters of the same names).
        moment(max((i.current_period_start for i in items), default=None)),
        moment(min((i.current_period_end for i in items), default=None)),
        truth(s.cancel_at_period_end),
        truth(s.pause_collection is not None),
        moment(s.created),
        truth(s.livemode),
    )


def _invoice(i: Invoice) -> tuple[str, ...]:
    details = i.parent.subscription_details if i.parent else None
    links = (text(i.customer), text(details.subscription if details else None))
    money = (text(i.status), text(i.currency), whole(i.amount_due), whole(i.amount_paid))
    return (*links, *money, moment(i.created), truth(i.livemode))


def _intent(p: Intent) -> tuple[str, ...]:
    money = (text(p.status), text(p.currency), whole(p.amount), whole(p.amount_received))
    return (text(p.customer), *money, text(p.latest_charge), moment(p.created), truth(p.livemode))


def _kind(  # noqa: PLR0913 - one row of the table below
    name: str,
    shape: type[N],
    values: Callable[[N], tuple[str, ...]],
    fields: Sequence[str],
    *,
    params: tuple[tuple[str, str], ...] = (),
    key: Callable[[N], str] = lambda _each: "",
    status: Callable[[N], str] = lambda _each: "",
) -> Kind[N]:
    page, one = TypeAdapter(Page[shape]), TypeAdapter(shape)  # type: ignore[valid-type]  # known at run time
    found: TypeAdapter[N | Deleted] = TypeAdapter(Deleted | shape)  # type: ignore[arg-type]  # known at run time
    singular = name.removesuffix("s")
    return Kind(name, singular, page, one, found, values, tuple(fields), params, key, status)


CUSTOMERS = _kind(
    "customers", Customer, _customer, ("email", "currency", "delinquent", "created_at", "livemode"),
    key=lambda c: text(c.metadata.user_id or ""),
)  # fmt: skip
ITEMS = TypeAdapter(Items)
SUBSCRIPTIONS = _kind(
    "subscriptions",
    Subscription,
    _subscription,
    (
        *("customer_id", "status", "price_id", "quantity", "current_period_start", "current_period_end"),
        *("cancel_at_period_end", "paused", "created_at", "livemode"),
    ),
    params=(("status", "all"),),  # the default hides the canceled ones
    status=lambda s: s.status,
)
INVOICES = _kind(
    "invoices",
    Invoice,
    _invoice,
    ("customer_id", "subscription_id", "status", "currency", "amount_due", "amount_paid", "created_at", "livemode"),
    status=lambda i: i.status or "",
)
INTENTS = _kind(
    "payment_intents",
    Intent,
    _intent,
    ("customer_id", "status", "currency", "amount", "amount_received", "charge_id", "created_at", "livemode"),
    status=lambda p: p.status,
)
CHARGES = _kind(
    "charges", Charge, lambda c: (whole(c.amount_refunded),), ("refunded",), key=lambda c: c.payment_intent or ""
)
INVOICE_PAYMENTS = _kind(
    "invoice_payments", InvoicePayment, lambda p: (text(p.invoice),), ("invoice",),
    key=lambda p: p.payment.payment_intent or "",
)  # fmt: skip

KINDS = (CUSTOMERS, SUBSCRIPTIONS, INVOICES, INTENTS, CHARGES, INVOICE_PAYMENTS)
BY_NAME = {kind.name: kind for kind in KINDS}
BY_OBJECT = {kind.object: kind for kind in KINDS}
#: Which lists make up a table, the first of them row by row; in the order in which rows refer to one another.
TABLES: dict[str, tuple[Kind[Any], ...]] = {
    "customers": (CUSTOMERS,),
    "subscriptions": (SUBSCRIPTIONS,),
    "invoices": (INVOICES,),
    "payments": (INTENTS, CHARGES, INVOICE_PAYMENTS),
}
JOINED = ("invoice_id", "refunded_amount")  #: of a payment, after the fields of its intent


def fields_of(table: str) -> tuple[str, ...]:
    """Name what is compared in a row of TABLE."""
    return TABLES[table][0].fields + (JOINED if table == "payments" else ())
