"""Put dead letters back."""

from __future__ import annotations

from tasks.effects import act
from tasks.guard import current
from tasks.stripe.reach import Reach
from tasks.stripe.requeue_state import RequeuePlan


@act("Put {plan.count} dead letters back.", point_of_no_return=True)
def requeue(at: Reach, plan: RequeuePlan) -> str:
    """Give them all their attempts again; the next replay takes them up."""
    with at.database.writing() as connection:
        found = at.claims.run(
            connection,
            "requeue",
            accounts=[account for account, _ in plan.letters],
            ids=[event for _, event in plan.letters],
            run_id=current().run.id,
        )
    return f"{len(found)} put back"
