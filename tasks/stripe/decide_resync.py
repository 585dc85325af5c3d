"""What is repaired, what is refused, and what was promised. Pure."""

from __future__ import annotations

from tasks.model import Decision, Evidence
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.state import Drift, Duplicate, Orphan, Repaired, ResyncPlan, TableDrift

ALWAYS_MAY_VANISH = 5
NAMED = 10


def decide_resync(seen: Drift, policy: ResyncPolicy) -> Decision[ResyncPlan]:
    """Repair, or say why not."""
    operations, duplicates = wanted(policy), _to_settle(seen, policy)
    changes = sum(changes_of(table, operations) for table in seen.tables)
    if objection := _mass(seen, policy) or _too_many(changes, policy):
        return Decision.refuse(objection)
    if not changes and not duplicates:
        return Decision.nothing(_nothing(seen))
    return Decision.go(_plan(seen, operations, duplicates, changes))


def wanted(policy: ResyncPolicy) -> tuple[str, ...]:
    """Name what the policy lets be done to a row."""
    found = ["update", "revive"]
    found += ["insert"] if policy.missing == "insert" else []
    found += ["tombstone"] if policy.deleted == "tombstone" else []
    return tuple(found)


def changes_of(table: TableDrift, operations: tuple[str, ...]) -> int:
    """Count the rows of a table that are changed by OPERATIONS."""
    return sum(int(getattr(table, operation)) for operation in operations)


def _mass(seen: Drift, policy: ResyncPolicy) -> str:
    for table in seen.tables:
        vanishing = table.tombstone + table.unconfirmed
        share = 100 * vanishing / max(1, table.ours)
        many = vanishing > policy.vanish_rows
        if many or (share > policy.vanish_percent and vanishing > ALWAYS_MAY_VANISH):
            return (
                f"{vanishing:,} of {table.ours:,} rows of {table.table} ({share:.1f} %) are not in account"
                f" {seen.account}: that is rather the wrong key, account or database than {vanishing:,} deletions."
                " Nothing was changed. If they are really gone, raise vanish_rows and vanish_percent."
            )
    return ""


def _too_many(changes: int, policy: ResyncPolicy) -> str:
    if changes <= policy.max_changes:
        return ""
    return (
        f"{changes:,} rows would be changed, and the policy allows {policy.max_changes:,} (max_changes). Read the"
        " differences of a dry run, then raise it."
    )


def _to_settle(seen: Drift, policy: ResyncPolicy) -> tuple[Duplicate, ...]:
    return tuple(d for d in seen.duplicates if policy.duplicates == "repair" and d.keeper is not None)


def _nothing(seen: Drift) -> str:
    objects = sum(table.stripe for table in seen.tables)
    left = f" {seen.drift:,} differences are only reported, as the policy says." if seen.drift else ""
    same = "is" if not seen.drift else "is otherwise"
    return (
        f"The database {same} equal to Stripe, as of {_moment(seen)}: {objects:,} objects compared, drift"
        f" {seen.drift:,}.{left}{_reported(seen)}"
    )


def _reported(seen: Drift) -> str:
    orphans = [each for each in seen.orphans if not each.healed]
    said = [f"{len(seen.duplicates)} customers are several users"] if seen.duplicates else []
    said += [f"{len(orphans)} payments have no customer or invoice"] if orphans else []
    return f" Only reported: {', '.join(said)}." if said else ""


def _moment(seen: Drift | Repaired) -> str:
    return f"{seen.at:%Y-%m-%d %H:%M:%S} UTC"


def counted(tables: tuple[TableDrift, ...], operations: tuple[str, ...]) -> str:
    """Say how many rows of each table are changed, and how."""
    parts = []
    for table in tables:
        found = [f"{number:,} {op}" for op in operations if (number := int(getattr(table, op)))]
        parts += [f"{table.table}: {', '.join(found)}"] if found else []
    return "; ".join(parts)


def _plan(seen: Drift, operations: tuple[str, ...], duplicates: tuple[Duplicate, ...], changes: int) -> ResyncPlan:
    said = counted(seen.tables, operations) or "no row of a table"
    released = sum(len(d.users) - 1 for d in duplicates)
    return ResyncPlan(
        resource=seen.resource,
        key=f"resync-{seen.digest}",
        once=False,
        why=f"{seen.drift:,} rows are not as Stripe said at {_moment(seen)} ({said}).",
        loss="Nothing is lost: old and new value of every field are kept in salvor.stripe_changes, and stripe-undo"
        " gives them back.",
        ask=_ask(duplicates),
        account=seen.account,
        tables=tuple(table.table for table in seen.tables if changes_of(table, operations)),
        operations=operations,
        differences=seen.digest,
        changes=changes,
        counted=said + (f"; users: {released} release" if duplicates else ""),
        duplicates=duplicates,
        spool=seen.spool,
        file=seen.file,
        as_of=seen.at,
        before=seen.drift,
    )


def _ask(duplicates: tuple[Duplicate, ...]) -> str:
    if not duplicates:
        return ""
    losers = {d.customer: ", ".join(str(user) for user in d.users if user != d.keeper) for d in duplicates}
    named = duplicates[:NAMED]
    each = "; ".join(f"{d.customer} stays with user {d.keeper} and is taken from {losers[d.customer]}" for d in named)
    more = f" and {len(duplicates) - NAMED} more" if len(duplicates) > NAMED else ""
    return f"users lose their Stripe customer: {each}{more}"


def keeper_of(users: tuple[int, ...], owner: int | None, *, live: bool) -> tuple[int | None, str]:
    """Say which of USERS keeps a customer whom Stripe and the customer's own row give to OWNER."""
    if owner not in users:
        return None, "neither Stripe's metadata nor the customer's row says which of them it is"
    if not live:
        return None, "the customer has no live subscription, so a person must look"
    return owner, "owns the live subscriptions"


def judge_resync(plan: ResyncPlan, after: Repaired) -> tuple[Evidence, ...]:
    """Hold the rows that are there now against what Stripe said."""
    drift = sum(changes_of(table, plan.operations) for table in after.tables)
    named = f": {', '.join(after.left[:NAMED])}" if after.left else ""
    rows = Evidence(
        claim=f"no row differs from what Stripe says, as of {_moment(after)} (before: {plan.before:,})",
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


def unlooked(before: Drift, policy: ResyncPolicy) -> tuple[str, ...]:
    """Say what is left to a person, and what was not looked at."""
    left = [f"Every difference, with old and new value: {before.file} on the machine that ran this."]
    left += [f"A status that is not known was kept as it is: {each}." for each in before.unknown]
    left += [_duplicate(d, policy) for d in before.duplicates[:NAMED]]
    orphans = [each for each in before.orphans if not each.healed]
    left += [_orphan(each) for each in orphans[:NAMED]]
    since = f" older than {policy.since_days} days" if policy.since_days else ""
    left += [f"Objects{since} of test clocks are not in Stripe's lists."] if not since else [f"Objects{since}."]
    return (*left, "Connected accounts, and every other column of the tables.")


def _duplicate(duplicate: Duplicate, policy: ResyncPolicy) -> str:
    kept = f"user {duplicate.keeper} {duplicate.why}" if duplicate.keeper is not None else duplicate.why
    hint = " (duplicates: repair settles it)" if duplicate.keeper is not None and policy.duplicates == "report" else ""
    return f"{duplicate.customer} is the users {', '.join(map(str, duplicate.users))}: {kept}{hint}."


def _orphan(orphan: Orphan) -> str:
    return f"Payment {orphan.payment} belongs to {orphan.parent}, which neither we nor Stripe's list has."
