"""Whether the changes of a run are given back, and whether they were. Pure."""

from __future__ import annotations

from tasks.consistency.repair_policies import UndoPolicy
from tasks.consistency.repair_state import Changes, UndoPlan
from tasks.model import Decision, Evidence

NAMED = 20


def decide_undo(seen: Changes, policy: UndoPolicy) -> Decision[UndoPlan]:
    """Give back what still stands."""
    if not policy.run_id.strip():
        return Decision.refuse("Say in run_id whose changes are given back: the id of a run of consistency-repair.")
    if not seen.known:
        return Decision.refuse(
            f"No change of a run {policy.run_id} is known here: copy its id from the report of consistency-repair."
        )
    if unknown := [rule for rule in policy.rules if rule not in seen.known]:
        return Decision.refuse(
            f"Run {policy.run_id} had nothing to do with {', '.join(unknown)}: correct `rules` in the policy. Its rules"
            f" were: {', '.join(seen.known)}."
        )
    if not seen.stands and not seen.fences:
        return Decision.nothing(f"No change of run {policy.run_id} stands any more.{_left(seen)}")
    return Decision.go(
        UndoPlan(
            resource=seen.resource,
            key=f"undo-{policy.run_id}",
            once=False,
            why=f"{seen.stands:,} rows are given back as they were before run {policy.run_id}.{_left(seen)}",
            loss="The rows will be wrong again by the rules; the next consistency-check lists them.",
            run_id=policy.run_id,
            rules=tuple(each.rule for each in seen.rules),
            changes=seen.stands,
            fences=seen.fences,
        )
    )


def judge_undo(plan: UndoPlan, after: Changes) -> tuple[Evidence, ...]:
    """Hold the rows against what they were before."""
    back, other = (sum(getattr(each, name) for each in after.rules) for name in ("given_back", "differs"))
    but = f", {other:,} came back and are otherwise now" if other else ""
    return (
        Evidence(
            claim=f"the {plan.changes:,} rows are as before run {plan.run_id}",
            seen=f"{back - other:,} are, {after.stands:,} are not{but}",
            holds=not after.stands and not other and back >= plan.changes,
        ),
        Evidence(
            claim="what the run added to keep wrong rows out is gone",
            seen=", ".join(after.fences) or "there is none left",
            holds=not after.fences,
        ),
    )


def unlooked(after: Changes) -> tuple[str, ...]:
    """Say which rows were left alone."""
    moved = [f"{row} was changed again since, or its place was taken; it is left as it is."
             for each in after.rules for row in each.moved_rows][:NAMED]  # fmt: skip
    rest = sum(each.moved for each in after.rules) - len(moved)
    gone = [f"{each.rule}: {each.gone:,} rows were deleted without a copy." for each in after.rules if each.gone]
    moved += [f"{row} came back, and a trigger of the table, or somebody else, changed it."
              for each in after.rules for row in each.differing_rows][:NAMED]  # fmt: skip
    fired = [f"Triggers fired, and what they changed elsewhere is as they left it: {each}." for each in after.triggers]
    return (*moved, *fired, *([f"There are {rest:,} more such."] if rest > 0 else []), *gone)


def _left(seen: Changes) -> str:
    moved = sum(each.moved for each in seen.rules)
    gone = sum(each.gone for each in seen.rules)
    parts = [f" {moved:,} were changed again since, and are left alone." if moved else ""]
    parts.append(f" {gone:,} were deleted without a copy, and cannot come back." if gone else "")
    return "".join(parts)
