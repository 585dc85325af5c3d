"""Which dead letters are put back, and whether they were. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.model import Decision, Evidence
from tasks.stripe.requeue_state import Letter, RequeuePlan

SHOWN_ERRORS = 8


def decide_requeue(letters: Sequence[Letter], resource: str, at: float) -> Decision[RequeuePlan]:
    """Put the dead letters back that are meant."""
    if not letters:
        return Decision.nothing("No dead letter fits what was asked for.")
    errors = Counter(f"{each.type}: {each.error_class or 'no class'}: {(each.error or '')[:120]}" for each in letters)
    shown = "; ".join(f"{n}x {what}" for what, n in errors.most_common(SHOWN_ERRORS))
    ids = tuple((each.account, each.event_id) for each in letters)
    return Decision.go(
        RequeuePlan(
            resource=resource,
            key=f"requeue-{at:.3f}",
            once=False,
            why=f"{len(letters)} events were given up ({shown}).",
            loss="Nothing is lost: the next stripe-replay tries them again, with all their attempts.",
            letters=ids,
            count=len(letters),
        )
    )


def judge_requeue(plan: RequeuePlan, left: Sequence[Letter]) -> tuple[Evidence, ...]:
    """Say whether none of them is given up any more."""
    still = {(each.account, each.event_id) for each in left} & set(plan.letters)
    return (
        Evidence(
            claim=f"{plan.count} events wait for the next replay",
            seen=f"{len(still)} of them are still given up",
            holds=not still,
        ),
    )
