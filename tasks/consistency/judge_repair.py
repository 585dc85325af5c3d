"""Whether a repair kept its promises. Pure."""

from __future__ import annotations

from tasks.consistency.repair_state import Account, Repaired, RepairPlan
from tasks.model import Evidence

#: What can become of a row, see Account.
BECAME = ("repaired", "quarantined", "deleted", "meanwhile", "skipped")


def judge_repair(plan: RepairPlan, after: Repaired) -> tuple[Evidence, ...]:
    """Hold the world against the plan: each rule holds for its rows, and every row is accounted for."""
    accounts = {each.rule: each for each in after.accounts}
    found = []
    for each in plan.rules:
        still, account = after.still_wrong.get(each.rule), accounts.get(each.rule)
        claim = f"no {each.rule} any more, of {each.rows + each.followers:,}"
        found.append(Evidence(claim=claim, seen=_seen(still, account), holds=still == 0))
    found += [
        Evidence(
            claim=f"new rows cannot be wrong: {rule}",
            seen="it holds for every row" if holds else "not yet",
            holds=holds,
        )
        for rule, holds in after.fences.items()
    ]
    return (*found, _conserved(after.accounts))


def _seen(still: int | None, account: Account | None) -> str:
    left = "not looked at again" if still is None else f"{still:,} are left" if still else "none is left"
    done = [f"{getattr(account, name):,} {name}" for name in BECAME if account and getattr(account, name)]
    why = [_why(account)] if still and account else []
    return "; ".join([left, *([", ".join(done)] if done else []), *why])


def _conserved(accounts: tuple[Account, ...]) -> Evidence:
    off = [each.rule for each in accounts if not each.balanced]
    total = f"{sum(each.found for each in accounts):,} = " + " + ".join(
        f"{sum(getattr(each, name) for each in accounts):,} {name}" for name in BECAME
    )
    claim = "every row is accounted for: found = repaired + quarantined + deleted + right meanwhile + skipped"
    return Evidence(claim=claim, seen=f"{total}; not so: {', '.join(off)}" if off else total, holds=not off)


def _why(account: Account) -> str:
    return "; ".join(account.why) or "it is not known why"


def figures_of(plan: RepairPlan, after: Repaired) -> dict[str, float]:
    """Give what was measured."""
    return {
        "rows_planned": plan.rows,
        "rows_changed": sum(each.changed for each in after.accounts),
        "rows_right_meanwhile": sum(each.meanwhile for each in after.accounts),
        "rows_skipped": sum(each.skipped for each in after.accounts),
        "second_look_seconds": after.seconds,
    }


def unlooked(plan: RepairPlan, after: Repaired) -> tuple[str, ...]:
    """Say what is left to do, and what was not looked at."""
    newly = [
        f"{rule}: {rows:,} more rows are wrong now than were planned for; run this again."
        for rule, rows in after.newly_wrong.items()
        if rows
    ]
    skipped = [
        f"{each.rule}: {each.skipped:,} rows were left: {_why(each)}." for each in after.accounts if each.skipped
    ]
    too = (
        f"; what was changed by {', '.join(plan.goes_on_for)}, which died in this work, comes back with it"
        if plan.goes_on_for
        else ""
    )
    undo = [f"To give everything back: consistency-undo with run_id {plan.look}{too}."] if after.accounts else []
    return (*newly, *skipped, *after.unseen, *undo)
