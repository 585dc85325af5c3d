"""Place and lift holds."""

from __future__ import annotations

from blocks.ledger import holds
from tasks.effects import act
from tasks.guard import current
from tasks.holds.decide import HoldPlan


@act("{plan.sentence}", point_of_no_return=True)
def hold_or_lift(plan: HoldPlan) -> str:
    """Write the hold into the ledger, or its end."""
    ledger = current().ledger
    if plan.until is None:
        return f"{holds.lift(ledger, plan.target, plan.by)} lifted"
    holds.hold(ledger, plan.target, plan.until, plan.reason, plan.by, starts_at=plan.starts_at)
    return "held"
