"""Look for dead letters."""

from __future__ import annotations

from tasks.effects import probe
from tasks.stripe.replay_reach import ReplayReach
from tasks.stripe.requeue_state import Letter, RequeuePolicy


@probe
def observe_letters(at: ReplayReach, policy: RequeuePolicy) -> tuple[Letter, ...]:
    """List the dead letters that are meant."""
    statuses = ["dead", "skipped"] if policy.skipped else ["dead"]
    asked = {"ids": list(policy.ids), "types": list(policy.types), "classes": list(policy.classes)}
    with at.database.reading() as connection:
        rows = at.claims.run(connection, "dead", statuses=statuses, limit=policy.max_events, **asked)
    return tuple(Letter(**row) for row in rows)
