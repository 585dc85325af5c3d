"""What befalls the shop: webhooks get lost for some hours, and its tables drift from Stripe."""

from __future__ import annotations

import random
import time

from tests.lab.shop.lab import ShopLab

HOURS = 3
STEPS = 120
#: The share of what happens of which Stripe generates no event, so that no webhook and no replay can tell of it.
NEVER_TOLD = 0.05
DELIVERY_SECONDS = 30
_PICK = "SELECT id FROM {0} WHERE stripe_deleted_at IS NULL AND {1} ORDER BY md5(id || %s) LIMIT %s"
_GHOST = """
INSERT INTO payments (id, customer_id, status, currency, amount, amount_received, refunded_amount, created_at, livemode)
SELECT 'pi_ghost' || %s, id, 'succeeded', 'usd', 4900, 4900, 0, now() - interval '40 days', false
FROM customers ORDER BY id LIMIT 1
"""
_DOUBLE = """
INSERT INTO users (id, email, tier, stripe_customer_id)
SELECT (SELECT max(id) + 1 FROM users), 'second-' || u.email, 'free', u.stripe_customer_id
FROM users u JOIN subscriptions s ON s.customer_id = u.stripe_customer_id AND s.status = 'active'
WHERE (SELECT count(*) FROM users t WHERE t.stripe_customer_id = u.stripe_customer_id) = 1 ORDER BY u.id LIMIT 1
RETURNING stripe_customer_id
"""
WHAT_NOW = """\
What heals it, in this order (UI: Deployments, the procedure, Run, Custom run, target `shop`):
  1. stripe-replay   brings each lost event to its effect, once. First with dry_run, to see what it finds.
  2. stripe-resync   as it stands: a dry run. Its table artifact lists what differs.
  3. stripe-resync   with dry_run off: drift 0. Run it again: NothingToDo.
  4. stripe-resync   with dry_run off and duplicates `repair`, for the customer who is two users; you name
                     yourself as requested_by, and the plan is approved under another name.
  stripe-undo gives back what a resync changed: paste the id of its run."""


def break_it(lab: ShopLab) -> list[str]:
    """Let everything happen, and say what did."""
    seed = int(time.time())
    return [lose_webhooks(lab, seed), *drift(lab, str(seed))]


def lose_webhooks(lab: ShopLab, seed: int) -> str:
    """Let the shop's endpoint be out of reach while much happens in Stripe."""
    before = len(lab.fake.deliveries())
    lab.fake.drop_webhooks()
    lab.fake.random_history(STEPS, seed, seconds=HOURS * 3600, missing=NEVER_TOLD)
    deadline = time.monotonic() + DELIVERY_SECONDS
    while any(not each["attempts"] for each in lab.fake.deliveries()[before:]) and time.monotonic() < deadline:
        time.sleep(0.2)
    lab.fake.drop_webhooks(on=False)
    lost = len(lab.fake.deliveries()) - before
    return (
        f"The webhook endpoint was out of reach for {HOURS} hours, in which {STEPS} things happened in Stripe: {lost}"
        f" webhooks were lost, and of {NEVER_TOLD:.0%} of it Stripe did not even make an event."
    )


def drift(lab: ShopLab, salt: str) -> list[str]:
    """Let rows be wrong, lost, left over and doubled."""
    chance = random.Random(salt)
    wrong = _some(lab, "subscriptions", "status = 'active'", salt, 8)
    lab.sql("UPDATE subscriptions SET status = 'canceled' WHERE id = ANY (%s)", [wrong])
    amounts = _some(lab, "invoices", "status = 'paid'", salt, 5)
    lab.sql("UPDATE invoices SET status = 'open', amount_paid = 0 WHERE id = ANY (%s)", [amounts])
    lost = _some(lab, "invoices", "NOT id = ANY (%s)", salt, 3, amounts)
    lab.sql("DELETE FROM invoices WHERE id = ANY (%s)", [lost])
    lab.sql(_GHOST, [f"{chance.randrange(10**6):06d}"])
    doubled = lab.sql(_DOUBLE)
    return [
        f"{len(wrong)} active subscriptions are `canceled` here, e.g. {wrong[0]}: people who pay are locked out.",
        f"{len(amounts)} paid invoices are `open`, and {len(lost)} invoices are lost, e.g. {lost[0]}.",
        "The shop has a payment that Stripe has never heard of: pi_ghost…",
        f"Two users are the customer {doubled[0][0]}." if doubled else "No customer was left to become two users.",
    ]


def _some(lab: ShopLab, table: str, where: str, salt: str, count: int, *values: object) -> list[str]:
    return [row[0] for row in lab.sql(_PICK.format(table, where), [*values, salt, count])]
