"""What happens to invoices and payments, with the events that Stripe tells about it."""

from __future__ import annotations

from typing import Any

from tests.lab.stripe import money
from tests.lab.stripe.collection import Object
from tests.lab.stripe.refusal import StripeRefusal
from tests.lab.stripe.shapes import AMOUNT
from tests.lab.stripe.universe import Universe

SUCCEEDS = "succeeds"


def bill(universe: Universe, subscription: Object, amount: int, reason: str, payment: str) -> Object:
    """Invoice a period of a subscription and try to collect it."""
    drafted = create_invoice(
        universe,
        subscription["customer"],
        amount,
        currency=subscription["currency"],
        subscription=subscription["id"],
        billing_reason=reason,
    )
    subscription["latest_invoice"] = drafted["id"]
    universe.put("subscription", subscription)
    finalize(universe, drafted["id"])
    return pay(universe, drafted["id"], payment)


def create_invoice(
    universe: Universe, customer: str, amount: int = AMOUNT, *, currency: str = "", **fields: Any
) -> Object:
    """Draft an invoice."""
    owner = universe.find("customer", customer)
    kept = currency or owner["currency"] or "usd"
    id_, now = universe.new_id("invoice"), universe.now()
    made = money.invoice(id_, now, customer, "draft", kept, amount, livemode=universe.livemode, **fields)
    universe.put("invoice", made)
    universe.emit("invoice.created", made)
    return made


def finalize(universe: Universe, invoice: str) -> Object:
    """Open an invoice: from now on it has a payment intent, tied to it by an invoice payment."""
    stored = _in_status(universe, invoice, "draft")
    now = universe.now()
    _invoiced(universe, stored, "invoice.finalized", status="open", auto_advance=True, finalized_at=now)
    if stored["amount_due"]:
        _intend(universe, stored, stored["amount_due"])
    return stored


def _intend(universe: Universe, invoice: Object, amount: int) -> Object:
    made = create_payment(universe, invoice["customer"], amount, currency=invoice["currency"], payment="waits")
    link = money.invoice_payment(
        universe.new_id("invoice_payment"),
        universe.now(),
        invoice["id"],
        made["id"],
        "open",
        invoice["currency"],
        amount,
        livemode=universe.livemode,
    )
    universe.put("invoice_payment", link)
    return made


def pay(universe: Universe, invoice: str, payment: str = SUCCEEDS) -> Object:
    """Try to collect an open invoice."""
    stored = _in_status(universe, invoice, "open", "uncollectible")
    link = _link(universe, invoice)
    if link is not None:
        intent = universe.find("payment_intent", link["payment"]["payment_intent"])
        _collect(universe, intent, payment)
    if payment != SUCCEEDS:
        stored |= {"attempt_count": stored["attempt_count"] + 1, "attempted": True}
        universe.put("invoice", stored)
        universe.emit("invoice.payment_failed", stored)
        return stored
    if link is not None:
        now = universe.now()
        link |= {"status": "paid", "amount_paid": link["amount_requested"]}
        link["status_transitions"] = {"canceled_at": None, "paid_at": now}
        universe.put("invoice_payment", link)
        universe.emit("invoice_payment.paid", link)
    _settle(universe, stored)
    return stored


def _settle(universe: Universe, invoice: Object) -> None:
    due = invoice["amount_due"]
    fields = {"status": "paid", "amount_paid": due, "amount_remaining": 0, "attempted": True, "auto_advance": False}
    _invoiced(universe, invoice, "invoice.paid", paid_at=universe.now(), **fields)
    universe.emit("invoice.payment_succeeded", invoice)
    subscription = universe["subscription"].get(_subscription_of(invoice) or "")
    if subscription and subscription["status"] in ("incomplete", "past_due", "unpaid"):
        previous = {"status": subscription["status"]}
        subscription["status"] = "active"
        universe.put("subscription", subscription)
        universe.emit("customer.subscription.updated", subscription, previous)


def void(universe: Universe, invoice: str) -> Object:
    """Give an invoice up; its payment is canceled, an incomplete subscription expires."""
    stored = _in_status(universe, invoice, "open", "uncollectible")
    now = universe.now()
    _invoiced(universe, stored, "invoice.voided", status="void", auto_advance=False, voided_at=now)
    link = _link(universe, invoice)
    if link is not None:
        link["status"], link["status_transitions"] = "canceled", {"canceled_at": now, "paid_at": None}
        universe.put("invoice_payment", link)
        cancel_payment(universe, link["payment"]["payment_intent"])
    subscription = universe["subscription"].get(_subscription_of(stored) or "")
    if subscription and subscription["status"] == "incomplete":
        subscription |= {"status": "incomplete_expired", "ended_at": now}
        universe.put("subscription", subscription)
        universe.emit("customer.subscription.updated", subscription, {"status": "incomplete"})
    return stored


def mark_uncollectible(universe: Universe, invoice: str) -> Object:
    """Write an invoice off."""
    stored = _in_status(universe, invoice, "open")
    marked = universe.now()
    return _invoiced(
        universe, stored, "invoice.marked_uncollectible", status="uncollectible", marked_uncollectible_at=marked
    )


def create_payment(
    universe: Universe,
    customer: str | None = None,
    amount: int = AMOUNT,
    *,
    currency: str = "usd",
    payment: str = SUCCEEDS,
    **fields: Any,
) -> Object:
    """Ask for a payment; it may belong to no invoice and even to no customer."""
    id_, now, status = universe.new_id("payment_intent"), universe.now(), "requires_payment_method"
    made = money.payment_intent(id_, now, customer, status, currency, amount, livemode=universe.livemode, **fields)
    universe.put("payment_intent", made)
    universe.emit("payment_intent.created", made)
    if payment != "waits":
        _collect(universe, made, payment)
    return made


def cancel_payment(universe: Universe, payment_intent: str) -> Object:
    """Give a payment up."""
    stored = universe.find("payment_intent", payment_intent)
    stored |= {"status": "canceled", "canceled_at": universe.now(), "cancellation_reason": "void_invoice"}
    universe.put("payment_intent", stored)
    universe.emit("payment_intent.canceled", stored)
    return stored


def refund(universe: Universe, payment_intent: str = "", charge: str = "", amount: int | None = None) -> Object:
    """Give (a part of) a charge back."""
    if payment_intent:
        charge = universe.find("payment_intent", payment_intent)["latest_charge"] or ""
    charged = universe.find("charge", charge, param="charge")
    left = charged["amount_captured"] - charged["amount_refunded"]
    wanted = left if amount is None else amount
    if not 0 < wanted <= left:
        said = f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left})."
        raise StripeRefusal(400, said, code="charge_already_refunded" if not left else "", param="amount")
    made = money.refund(universe.new_id("refund"), universe.now(), charged, wanted)
    universe.put("refund", made)
    previous = {"amount_refunded": charged["amount_refunded"], "refunded": charged["refunded"]}
    charged |= {"amount_refunded": charged["amount_refunded"] + wanted, "refunded": wanted == left}
    universe.put("charge", charged)
    universe.emit("charge.refunded", charged, previous)
    universe.emit("refund.created", made)
    return made


def _collect(universe: Universe, intent: Object, payment: str) -> None:
    good = payment == SUCCEEDS
    made = money.charge(
        universe.new_id("charge"),
        universe.now(),
        intent["customer"],
        "succeeded" if good else "failed",
        intent["currency"],
        intent["amount"],
        livemode=universe.livemode,
        payment_intent=intent["id"],
    )
    universe.put("charge", made)
    intent |= {"latest_charge": made["id"], "amount_received": intent["amount"] if good else 0}
    intent["status"] = "succeeded" if good else "requires_payment_method"
    universe.put("payment_intent", intent)
    # The order inside one second is not the order of cause and effect.
    universe.emit("payment_intent.succeeded" if good else "payment_intent.payment_failed", intent)
    universe.emit("charge.succeeded" if good else "charge.failed", made)


def _invoiced(universe: Universe, invoice: Object, type_: str, **fields: Any) -> Object:
    moments = {name: fields.pop(name) for name in tuple(fields) if name in invoice["status_transitions"]}
    previous = {name: invoice[name] for name in fields}
    invoice |= fields
    invoice["status_transitions"] = invoice["status_transitions"] | moments
    universe.put("invoice", invoice)
    universe.emit(type_, invoice)
    universe.emit("invoice.updated", invoice, previous)
    return invoice


def _in_status(universe: Universe, invoice: str, *statuses: str) -> Object:
    stored = universe.find("invoice", invoice)
    if stored["status"] not in statuses:
        said = f"This invoice is {stored['status']}; it should be {' or '.join(statuses)}."
        raise StripeRefusal(400, said, code="invoice_not_editable")
    return stored


def _link(universe: Universe, invoice: str) -> Object | None:
    links = universe["invoice_payment"]
    return next((links.at(ordinal) for ordinal in links.children("invoice", invoice)), None)


def _subscription_of(invoice: Object) -> str | None:
    parent = invoice["parent"]
    return parent["subscription_details"]["subscription"] if parent else None
