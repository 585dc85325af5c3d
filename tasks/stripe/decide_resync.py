"""What is repaired, and what is refused. Pure."""

from __future__ import annotations

from tasks.model import Decision
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.state import Drift, Duplicate, Repaired, ResyncPlan, TableDrift

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
        f"The database {same} equal to Stripe, as of {moment_of(seen)}: {objects:,} objects compared, drift"
        f" {seen.drift:,}.{left}{_reported(seen)}"
    )


def _reported(seen: Drift) -> str:
    orphans = [each.payment for each in seen.orphans if not each.healed]
    parts = (
        ("customers who are several users", "duplicates", [each.customer for each in seen.duplicates]),
        ("users who are several customers", "several", [each.user for each in seen.several]),
        ("payments without their customer or invoice", "orphans", orphans),
    )
    said = [f"{what}: {seen.more.get(name, len(ids)):,} ({_some(ids)})" for what, name, ids in parts if ids]
    return f" Only reported: {'; '.join(said)}." if said else ""


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")


def moment_of(seen: Drift | Repaired) -> str:
    """Say for which time something is true."""
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
        why=_why(seen, said, duplicates),
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


def _why(seen: Drift, said: str, duplicates: tuple[Duplicate, ...]) -> str:
    if seen.drift:
        return f"{seen.drift:,} rows were not as Stripe said at {moment_of(seen)} ({said})."
    shared = f"{len(duplicates):,} customers are shared by several users"
    return f"{shared}; every row is as Stripe said at {moment_of(seen)}."


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
