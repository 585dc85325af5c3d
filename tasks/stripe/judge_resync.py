"""Whether a repair did what was promised, and what is left to a person. Pure."""

from __future__ import annotations

from tasks.model import Evidence
from tasks.stripe.decide_resync import NAMED, changes_of, moment_of
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.state import Drift, Duplicate, Orphan, Repaired, ResyncPlan, Several


def judge_resync(plan: ResyncPlan, after: Repaired) -> tuple[Evidence, ...]:
    """Hold the rows that are there now against what Stripe said."""
    unsure = sum(table.unconfirmed for table in after.tables) if "tombstone" in plan.operations else 0
    drift = sum(changes_of(table, plan.operations) for table in after.tables) + unsure
    more = ", …" if after.left_rows > NAMED else ""
    named = f": {', '.join(after.left[:NAMED])}{more}" if after.left else ""
    rows = Evidence(
        claim=f"no row differs from what Stripe says, as of {moment_of(after)} (before: {plan.before:,})",
        seen=f"drift {drift:,}{named}",
        holds=drift == 0,
    )
    wrong = [d.customer for d in after.duplicates if d.customer in {p.customer for p in plan.duplicates}]
    users = Evidence(
        claim="each of the settled customers is one user",
        seen=f"still several: {', '.join(wrong)}" if wrong else "each is",
        holds=not wrong,
    )
    return (rows, users) if plan.duplicates else (rows,)


def figures_of(before: Drift, after: Repaired, plan: ResyncPlan) -> dict[str, float]:
    """Give what was measured."""
    objects = sum(table.stripe for table in before.tables)
    return {
        "drift_before_rows": float(before.drift),
        "drift_after_rows": float(sum(changes_of(table, plan.operations) for table in after.tables)),
        "rows_changed": float(after.audited),
        "objects_compared": float(objects),
        "requests_to_stripe": float(before.requests),
        "refused_for_the_limit": float(before.refusals),
        "events_while_listing": float(before.events),
        "listing_seconds": before.seconds,
    }


def unlooked(before: Drift, after: Repaired, policy: ResyncPolicy) -> tuple[str, ...]:
    """Say what is left to a person, and what was not looked at."""
    orphans = [each for each in before.orphans if not each.healed]
    return (
        f"Every difference, with old and new value: {before.file} on the machine that ran this.",
        *(f"A status that is not known was kept as it is: {each}." for each in before.unknown),
        *_first([_duplicate(each, policy) for each in before.duplicates], before.more.get("duplicates", 0)),
        *_first([_several(each) for each in before.several], before.more.get("several", 0)),
        *_first([_orphan(each) for each in orphans], before.more.get("orphans", 0)),
        *_moving(after),
        f"Objects older than {policy.since_days} days."
        if policy.since_days
        else "Objects of test clocks: they are not in Stripe's lists.",
        "Connected accounts that the StripeAccount block does not name, and every other column of the tables.",
    )


def _first(sentences: list[str], number: int) -> list[str]:
    """Give the first sentences, and say how many there are beyond them."""
    rest = max(number, len(sentences)) - NAMED
    return sentences[:NAMED] + ([f"There are {rest:,} more such."] if rest > 0 else [])


def _moving(after: Repaired) -> list[str]:
    """Name what changed in Stripe while the run worked: whoever handles the webhooks is at it, or the next run."""
    if not after.moving:
        return []
    more = f" and {after.moving_rows - NAMED:,} more" if after.moving_rows > NAMED else ""
    named = ", ".join(after.moving[:NAMED]) + more
    return [f"Changed in Stripe while this ran, and not yet so here: {named}. The webhooks bring it, or the next run."]


def _several(several: Several) -> str:
    return f"User {several.user} is the customers {several.customers}: which of them is right, a person must say."


def _duplicate(duplicate: Duplicate, policy: ResyncPolicy) -> str:
    kept = f"user {duplicate.keeper} {duplicate.why}" if duplicate.keeper is not None else duplicate.why
    hint = " (duplicates: repair settles it)" if duplicate.keeper is not None and policy.duplicates == "report" else ""
    return f"{duplicate.customer} is the users {', '.join(map(str, duplicate.users))}: {kept}{hint}."


def _orphan(orphan: Orphan) -> str:
    return f"Payment {orphan.payment} belongs to {orphan.parent}, which neither the database nor Stripe has."
