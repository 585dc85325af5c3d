"""Look for dead letters."""

from __future__ import annotations

from tasks.effects import probe
from tasks.stripe.reach import Reach
from tasks.stripe.requeue_state import Letter, RequeuePolicy


@probe
def observe_letters(at: Reach, policy: RequeuePolicy) -> tuple[Letter, ...]:
    """List the dead letters that are meant."""
    statuses = ["dead", "skipped"] if policy.skipped else ["dead"]
    asked = {"ids": list(policy.ids), "types": list(policy.types), "classes": list(policy.classes)}
    with at.database.reading() as connection:
        rows = at.claims.run(connection, "dead", statuses=statuses, limit=policy.max_events, **asked)
    return tuple(Letter(**row) for row in rows)
