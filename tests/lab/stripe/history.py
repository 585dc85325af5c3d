"""Random histories: everything that can happen, happens, to whom chance chooses."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.lab.stripe.actions import act
from tests.lab.stripe.collection import Object
from tests.lab.stripe.refusal import StripeRefusal
from tests.lab.stripe.universe import Universe

Chooser = Callable[[random.Random, Object], dict[str, object]]
TRIES = 20


def _named(field: str, **more: Callable[[random.Random], object]) -> Chooser:
    return lambda chance, o: {field: o["id"]} | {name: choose(chance) for name, choose in more.items()}


def _outcome(chance: random.Random) -> str:
    return "succeeds" if chance.random() < 0.7 else "fails"


def _amount(chance: random.Random) -> int:
    return chance.randrange(100, 9_999)


def _price(chance: random.Random) -> str:
    return f"price_{chance.randrange(5)}"


def _seats(chance: random.Random) -> int:
    return chance.randrange(1, 9)


def _currency(chance: random.Random) -> str:
    return chance.choice(("usd", "usd", "eur", "jpy", "kwd"))


LIVING = ("active", "trialing", "past_due", "unpaid", "paused")
#: action, kind it happens to, statuses in which it may, what it needs, how often.
EVERYTHING: tuple[tuple[str, str, tuple[str, ...], Chooser, int], ...] = (
    ("customer.create", "", (), lambda chance, _: {"currency": _currency(chance)}, 8),
    ("customer.update", "customer", (), _named("customer", email=lambda c: f"c{c.randrange(10**6)}@example.com"), 6),
    ("customer.update", "customer", (), _named("customer", delinquent=lambda c: c.random() < 0.5), 3),
    ("customer.delete", "customer", (), _named("customer"), 2),
    ("subscription.create", "customer", (), _named("customer", payment=_outcome, price=_price, quantity=_seats), 14),
    ("subscription.create", "customer", (), _named("customer", trial_days=lambda _: 14), 3),
    ("subscription.update", "subscription", LIVING, _named("subscription", quantity=_seats), 8),
    ("subscription.update", "subscription", LIVING, _named("subscription", price=_price), 5),
    ("subscription.add_items", "subscription", LIVING, _named("subscription", days=lambda c: c.choice((7, 365))), 3),
    ("subscription.cancel", "subscription", (*LIVING, "incomplete"), _named("subscription"), 5),
    (
        "subscription.cancel_at_period_end",
        "subscription",
        LIVING,
        _named("subscription", on=lambda c: c.random() < 0.6),
        5,
    ),
    ("subscription.pause_collection", "subscription", LIVING, _named("subscription"), 3),
    ("subscription.resume_collection", "subscription", LIVING, _named("subscription"), 3),
    ("subscription.pause", "subscription", ("trialing",), _named("subscription"), 2),
    ("subscription.resume", "subscription", ("paused",), _named("subscription"), 2),
    ("subscription.set_status", "subscription", ("past_due",), _named("subscription", status=lambda _: "unpaid"), 2),
    (
        "subscription.renew",
        "subscription",
        ("active", "trialing", "past_due"),
        _named("subscription", payment=_outcome),
        12,
    ),
    ("invoice.create", "customer", (), _named("customer", amount=_amount), 4),
    ("invoice.finalize", "invoice", ("draft",), _named("invoice"), 6),
    ("invoice.pay", "invoice", ("open", "uncollectible"), _named("invoice", payment=_outcome), 10),
    ("invoice.void", "invoice", ("open",), _named("invoice"), 4),
    ("invoice.mark_uncollectible", "invoice", ("open",), _named("invoice"), 2),
    ("payment.create", "customer", (), _named("customer", amount=_amount, payment=_outcome), 4),
    ("charge.refund", "payment_intent", ("succeeded",), _named("payment_intent"), 3),
    ("charge.refund", "payment_intent", ("succeeded",), _named("payment_intent", amount=lambda _: 50), 3),
)
WEIGHTS = [each[-1] for each in EVERYTHING]


def step(universe: Universe, chance: random.Random, *, generated: bool = True) -> str:
    """Let one thing happen; give its name, or nothing when chance found nobody it could happen to."""
    for _ in range(TRIES):
        kind, to, statuses, needs, _weight = chance.choices(EVERYTHING, WEIGHTS)[0]
        o = _somebody(universe, to, statuses, chance) if to else {}
        if o is None:
            continue
        try:
            act(universe, kind, generated=generated, **needs(chance, o))
        except StripeRefusal:
            continue  # already refunded, or its customer is deleted
        return kind
    return ""


def _somebody(universe: Universe, kind: str, statuses: tuple[str, ...], chance: random.Random) -> Object | None:
    held = universe[kind]
    for _ in range(TRIES if len(held) else 0):
        ordinal = chance.randrange(len(held))
        o = held.at(ordinal)
        if held.gone(o["id"]) or (statuses and o["status"] not in statuses):
            continue
        return o
    return None


def write(  # noqa: PLR0913 - each is one choice
    universe: Universe,
    steps: int,
    seed: int,
    *,
    seconds: int = 4 * 3600,
    missing: float = 0,
    until_seconds_ago: int = 600,
) -> dict[str, int]:
    """Let STEPS things happen within SECONDS that ended UNTIL_SECONDS_AGO; MISSING is the share without events."""
    chance, clock = random.Random(seed), universe.world.clock
    end = clock.now() - until_seconds_ago
    # Few moments, so that many things happen in one second.
    moments = sorted(end - chance.randrange(seconds) for _ in range(max(1, steps * 2 // 3)))
    happened: dict[str, int] = {}
    try:
        for number in range(steps):
            clock.stopped_at = moments[number * len(moments) // steps]
            name = step(universe, chance, generated=chance.random() >= missing)
            happened[name] = happened.get(name, 0) + 1
    finally:
        clock.stopped_at = None
    return happened
