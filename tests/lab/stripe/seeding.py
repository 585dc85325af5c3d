"""A shop that has been there for a year: any number of customers and subscriptions, written only when asked for.

The nth object of a kind follows from n: no memory is needed but 25 bytes each, and a page of 100 costs half a
millisecond.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import orjson

from tests.lab.stripe import money, shapes
from tests.lab.stripe.collection import Object
from tests.lab.stripe.shapes import AMOUNT, DAY, MONTH
from tests.lab.stripe.universe import Universe

#: What one in PERIOD subscriptions is: status, fields that differ, how many.
VARIANTS: tuple[tuple[str, Object, int], ...] = (
    ("active", {}, 720),
    ("active", {"cancel_at_period_end": True}, 40),
    ("active", {"pause_collection": {"behavior": "void", "resumes_at": None}}, 20),
    ("active", {"two": True}, 30),
    ("trialing", {}, 50),
    ("past_due", {}, 30),
    ("canceled", {}, 77),
    ("unpaid", {}, 10),
    ("paused", {}, 10),
    ("incomplete", {}, 5),
    ("incomplete_expired", {}, 5),
)
PERIOD = sum(weight for *_, weight in VARIANTS)  # 997, a prime: no rhythm with anything else
UNPAID = {"past_due", "unpaid", "incomplete", "incomplete_expired"}
CURRENCIES = ("usd",) * 8 + ("eur", "jpy", "kwd")
NUMBER = 900_000_000_000  #: with what numbers are told from each other while a template is made


class Rendered:
    """One kind of seeded object: templates, and the values of the nth."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a block is
        self,
        prefix: str,
        created: array[int],
        marks: bytes,
        statuses: tuple[str, ...],
        templates: list[bytes],
        values: Callable[[int], dict[bytes, Any]],
        variant: Callable[[int], int] = lambda _: 0,
    ) -> None:
        """Describe COUNT objects; VARIANT chooses the template of the nth."""
        self.prefix, self.count, self.created = prefix, len(created), created
        self.marks, self.statuses = marks, statuses
        self._templates, self._values, self._variant = templates, values, variant
        self.owners: dict[str, tuple[str, int]] = {}  # field -> prefix of the parent's id, children each

    def render(self, index: int) -> bytes:
        """Write the object of this number."""
        return self._templates[self._variant(index)] % self._values(index)

    def children(self, field: str, parent: str) -> range:
        """Number those whose FIELD is PARENT."""
        prefix, each = self.owners.get(field, ("\0", 0))
        rest = parent[len(prefix) :]
        if not (parent.startswith(prefix) and rest.isdigit() and each):
            return range(0)
        first = int(rest) * each
        return range(min(first, self.count), min(first + each, self.count))


def template(shape: Object) -> bytes:
    """Make a format of an object in which `%name` stands for a text and the int NUMBER + n for the nth number."""
    text = orjson.dumps(shape).replace(b"%", b"%%")
    for name in (
        b"id",
        b"customer",
        b"sub",
        b"price",
        b"currency",
        b"inv",
        b"pi",
        b"ch",
        b"email",
        b"item",
        b"user",
        b"inpay",
    ):
        text = text.replace(b"@%%" + name + b"@", b"%(" + name + b")b")
    for number, name in enumerate((b"created", b"start", b"end", b"quantity", b"amount", b"end2", b"total")):
        text = text.replace(str(NUMBER + number).encode(), b"%(" + name + b")d")
    return text


CREATED, START, END, QUANTITY, UNIT, END2, TOTAL = (NUMBER + n for n in range(7))


class Shop:
    """The numbers of one seed."""

    def __init__(  # noqa: PLR0913 - the numbers
        self, customers: int, each: int, seed: int, now: int, days: tuple[float, float], *, livemode: bool
    ) -> None:
        """Describe CUSTOMERS with EACH subscriptions, created between DAYS before NOW."""
        self.customers, self.each, self.now, self.livemode = customers, each, now, livemode
        self.tag = f"{seed % 1000:03d}"
        begin, end = now - int(days[0] * DAY), now - int(days[1] * DAY)
        count = max(1, customers * max(1, each))
        # Ties: three share a second now and then, and always when there are more than there are seconds.
        self.moments = array(
            "q", (begin + (end - begin) * (n - n % 3 if n % 21 < 3 else n) // count for n in range(count))
        )
        kinds = [number for number, (*_, weight) in enumerate(VARIANTS) for _ in range(weight)]
        random.Random(seed).shuffle(kinds)
        self.pattern = bytes(kinds)
        self.count = customers * each

    def variant(self, index: int) -> int:
        """Say which of the variants the nth subscription is."""
        return self.pattern[index % PERIOD]

    def status(self, index: int) -> str:
        """Say the status of the nth subscription."""
        return VARIANTS[self.variant(index)][0]

    def name(self, kind: str, index: int) -> bytes:
        """Give the id of the nth object of a kind."""
        return f"{kind}_1S{self.tag}{index:010d}".encode()

    def currency(self, index: int) -> bytes:
        """Say in what the nth subscription is paid."""
        return CURRENCIES[index // max(1, self.each) % len(CURRENCIES)].encode()

    def values(self, index: int) -> dict[bytes, Any]:
        """Give everything that differs between the nth subscription, its invoice and payment and the others'."""
        created, quantity = self.moments[index], 1 + index % 5
        ended = created + MONTH if self.status(index) in ("canceled", "incomplete_expired") else self.now
        start = created + max(0, ended - created - 1) // MONTH * MONTH
        return {
            b"customer": self.name("cus", index // max(1, self.each)),
            b"sub": self.name("sub", index),
            b"item": self.name("si", index),
            b"inv": self.name("in", index),
            b"pi": self.name("pi", index),
            b"ch": self.name("ch", index),
            b"inpay": self.name("inpay", index),
            b"price": b"price_%d" % (index % 7),
            b"currency": self.currency(index),
            b"created": created,
            b"start": start,
            b"end": start + MONTH,
            b"end2": start + 12 * MONTH,
            b"quantity": quantity,
            b"amount": AMOUNT,
            b"total": AMOUNT * quantity,
        }

    def customer_values(self, index: int) -> dict[bytes, Any]:
        """Give what differs between the nth customer and the others."""
        first = index * max(1, self.each)
        return {
            b"id": self.name("cus", index),
            b"email": b"user%d@example.com" % (index + 1),
            b"user": b"%d" % (index + 1),
            b"created": self.moments[first],
            b"currency": self.currency(first),
        }


def seed(  # noqa: PLR0913 - each is one choice
    universe: Universe,
    *,
    customers: int = 100,
    subscriptions_per_customer: int = 1,
    seed: int = 1,
    invoices: bool = True,
    oldest_days: float = 400,
    newest_days: float = 2,
) -> dict[str, int]:
    """Let a shop have been there; no events tell of it."""
    days = (oldest_days, newest_days)
    shop = Shop(customers, subscriptions_per_customer, seed, universe.now(), days, livemode=universe.livemode)
    blocks = {"customer": _customers(shop)}
    if shop.count:
        blocks["subscription"] = _subscriptions(shop)
    if shop.count and invoices:
        blocks |= _payments(shop)
    for kind, block in blocks.items():
        universe[kind].seed(block)
    return {kind: block.count for kind, block in blocks.items()}


def _customers(shop: Shop) -> Rendered:
    shape = shapes.customer("@%id@", CREATED, livemode=shop.livemode, email="@%email@", currency="@%currency@")
    shape["metadata"] = {"user_id": "@%user@"}
    created = shop.moments[:: max(1, shop.each)]
    return Rendered(
        shop.name("cus", 0).decode()[:-10], created, bytes(len(created)), (), [template(shape)], shop.customer_values
    )


def _subscriptions(shop: Shop) -> Rendered:
    made = _block(
        shop, "sub", tuple(status for status, *_ in VARIANTS), [template(_subscription(shop, *v[:2])) for v in VARIANTS]
    )
    made.owners["customer"] = (shop.name("cus", 0).decode()[:-10], shop.each)
    return made


def _subscription(shop: Shop, status: str, more: Object) -> Object:
    items = []
    for number, end in enumerate((END, END2) if more.get("two") else (END,)):
        name = "@%price@" if not number else "price_yearly"
        priced = shapes.price(name, CREATED, "@%currency@", UNIT, livemode=shop.livemode)
        items.append(shapes.item(f"@%item@{'b' * number}", CREATED, priced, "@%sub@", START, end, QUANTITY))
    fields = {name: value for name, value in more.items() if name != "two"} | {"latest_invoice": "@%inv@"}
    if status == "canceled":
        fields |= {"canceled_at": END, "ended_at": END}
    if status == "trialing":
        fields |= {"trial_start": START, "trial_end": END}
    return shapes.subscription(
        "@%sub@", CREATED, "@%customer@", status, "@%currency@", items, livemode=shop.livemode, **fields
    )


def _payments(shop: Shop) -> dict[str, Rendered]:
    """One invoice for each subscription, with its payment intent, charge and invoice payment."""
    made = {}
    for kind, short, write in (
        ("invoice", "in", _invoice),
        ("payment_intent", "pi", _intent),
        ("charge", "ch", _charge),
        ("invoice_payment", "inpay", _link),
    ):
        both = [write(shop, paid=paid) for paid in (True, False)]
        statuses = tuple(both[status in UNPAID]["status"] for status, *_ in VARIANTS)
        templates = [template(both[status in UNPAID]) for status, *_ in VARIANTS]
        block = made[kind] = _block(shop, short, statuses, templates)
        block.owners["customer"] = (shop.name("cus", 0).decode()[:-10], 0 if kind == "invoice_payment" else shop.each)
        for field, parent in (("subscription", "sub"), ("invoice", "in"), ("payment_intent", "pi")):
            block.owners[field] = (shop.name(parent, 0).decode()[:-10], 1)
    return made


def _block(shop: Shop, short: str, statuses: tuple[str, ...], templates: list[bytes]) -> Rendered:
    marks = (shop.pattern * (shop.count // PERIOD + 1))[: shop.count]
    prefix = shop.name(short, 0).decode()[:-10]
    return Rendered(prefix, shop.moments[: shop.count], marks, statuses, templates, shop.values, shop.variant)


def _invoice(shop: Shop, *, paid: bool) -> Object:
    status = "paid" if paid else "open"
    return money.invoice(
        "@%inv@",
        CREATED,
        "@%customer@",
        status,
        "@%currency@",
        TOTAL,
        livemode=shop.livemode,
        subscription="@%sub@",
        number="@%inv@",
    )


def _intent(shop: Shop, *, paid: bool) -> Object:
    status = "succeeded" if paid else "requires_payment_method"
    shape = money.payment_intent("@%pi@", CREATED, "@%customer@", status, "@%currency@", TOTAL, livemode=shop.livemode)
    return shape | {"latest_charge": "@%ch@"}


def _charge(shop: Shop, *, paid: bool) -> Object:
    status = "succeeded" if paid else "failed"
    shape = money.charge("@%ch@", CREATED, "@%customer@", status, "@%currency@", TOTAL, livemode=shop.livemode)
    return shape | {"payment_intent": "@%pi@"}


def _link(shop: Shop, *, paid: bool) -> Object:
    status = "paid" if paid else "open"
    return money.invoice_payment(
        "@%inpay@", CREATED, "@%inv@", "@%pi@", status, "@%currency@", TOTAL, livemode=shop.livemode
    )
