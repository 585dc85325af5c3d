"""Whether the changes of a run are given back, and whether they were. Pure."""

from __future__ import annotations

from tasks.model import Decision, Evidence
from tasks.stripe.policies import UndoPolicy
from tasks.stripe.state import Changes, UndoPlan

NAMED = 20


def decide_undo(seen: Changes, policy: UndoPolicy) -> Decision[UndoPlan]:
    """Give back what still stands."""
    if not policy.run_id.strip():
        return Decision.refuse("Say in run_id whose changes are given back: the id of a run of stripe-resync.")
    if not seen.audit or not seen.tables:
        return Decision.refuse(
            f"salvor.stripe_changes has no change of a run {policy.run_id}: copy its id from the address of the run."
        )
    if not seen.stands:
        return Decision.nothing(
            f"No change of run {policy.run_id} stands any more.{_left(seen.moved, seen.moved_rows)}"
        )
    return Decision.go(
        UndoPlan(
            resource=seen.resource,
            key=f"undo-{policy.run_id}",
            once=False,
            why=f"{seen.stands:,} rows are given back as they were before run {policy.run_id}."
            f"{_left(seen.moved, seen.moved_rows)}",
            loss="The rows will no longer be as Stripe said then; the next stripe-resync lists them again.",
            run_id=policy.run_id,
            tables=tuple(each.table for each in reversed(seen.tables) if each.stands),
            changes=seen.stands,
            moved=seen.moved,
            moved_rows=seen.moved_rows,
        )
    )


def _left(moved: tuple[str, ...], rows: int) -> str:
    if not moved:
        return ""
    more = f" and {rows - NAMED:,} more" if rows > NAMED else ""
    return f" Changed again since, and left alone: {', '.join(moved[:NAMED])}{more}."


def judge_undo(plan: UndoPlan, after: Changes) -> tuple[Evidence, ...]:
    """Hold the rows against what they were before."""
    back = sum(each.given_back for each in after.tables)
    return (
        Evidence(
            claim=f"the {plan.changes:,} rows are as before run {plan.run_id}",
            seen=f"{back:,} are, {after.stands:,} are not",
            holds=after.stands == 0 and back >= plan.changes,
        ),
    )


def unlooked(plan: UndoPlan) -> tuple[str, ...]:
    """Say which rows were left alone."""
    named = [f"{each} was changed again since, and is left as it is." for each in plan.moved[:NAMED]]
    rest = plan.moved_rows - len(named)
    return (*named, *([f"There are {rest:,} more such."] if rest > 0 else []))
