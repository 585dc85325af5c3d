"""A past with a known truth on a Stripe of paper, and the look whether the shop equals it."""

from __future__ import annotations

import random

from tests.flows.paper_stripe import PaperStripe
from tests.flows.stripe_scene import Scene

WRITES = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"


def history(stripe: PaperStripe, seed: int, steps: int = 60) -> None:
    """Let things happen in any order, with ties and deletions."""
    rng = random.Random(seed)
    things = [stripe.put("customers") for _ in range(6)]
    things += [stripe.put("subscriptions") for _ in range(6)] + [stripe.put("invoices") for _ in range(6)]
    names = {"customer": "customer", "subscription": "customer.subscription", "invoice": "invoice"}
    for _ in range(steps):
        thing = rng.choice(things)
        kind, age = thing["object"] + "s", rng.choice([600, 600, 1800, 3000])
        if kind == "customers" and rng.random() < 0.1:
            stripe.event("customer.deleted", stripe.delete(kind, thing["id"]), age=age)
            things.remove(thing)
            continue
        change = {"customers": {"email": f"{rng.random()}@x"}, "invoices": {"amount_due": rng.randrange(1000)}}
        facts = change.get(kind) or {"status": rng.choice(["active", "past_due", "unpaid"])}
        now = stripe.put(kind, id=thing["id"], **facts)
        stripe.event(f"{names[thing['object']]}.{rng.choice(['created', 'updated'])}", now, age=age)


def assert_true(scene: Scene) -> None:
    """Every object that was touched is as Stripe has it, and every effect is there once."""
    touched = {e["data"]["object"]["id"] for e in scene.stripe.events}
    rows = scene.rows(
        "SELECT id, email, stripe_deleted_at IS NOT NULL FROM customers"
        " UNION ALL SELECT id, status, stripe_deleted_at IS NOT NULL FROM subscriptions"
        " UNION ALL SELECT id, amount_due::text, stripe_deleted_at IS NOT NULL FROM invoices"
    )
    truth = {}
    for kind, field in (("customers", "email"), ("subscriptions", "status"), ("invoices", "amount_due")):
        truth |= {k: str(o[field]) for k, o in scene.stripe.objects[kind].items() if not o.get("deleted")}
    assert {key: value for key, value, gone in rows if not gone} == {k: v for k, v in truth.items() if k in touched}
    due = sorted(e["id"] for e in scene.stripe.events if e["type"] == "customer.subscription.created")
    assert sorted(row[0] for row in scene.rows("SELECT event_id FROM event_effects")) == due
