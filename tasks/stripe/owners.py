"""Whose is what: customers who are several users, users who are several customers, payments that are nobody's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blocks import app_users
from blocks.app_database import AppDatabase, Connection
from tasks.stripe.decide_resync import keeper_of
from tasks.stripe.kinds import BY_NAME
from tasks.stripe.looks import Looks
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.spool import Spool
from tasks.stripe.state import Duplicate, Orphan, Several

NAMED = 100


def owners(database: AppDatabase, connection: Connection, spool: Spool, policy: ResyncPolicy) -> dict[str, Any]:
    """Give what a comparison says of owners; where not all are named, how many there are."""
    duplicates, doubled = doubled_users(database, connection, spool, policy)
    orphans, lost = _orphans(database, connection, spool, policy)
    several, many = spool.several(NAMED)
    counted = {"duplicates": (doubled, duplicates), "orphans": (lost, orphans), "several": (many, several)}
    return {
        "duplicates": duplicates,
        "orphans": orphans,
        "several": tuple(Several(user=user, customers=customers) for user, customers in several),
        "more": {name: number for name, (number, named) in counted.items() if number > len(named)},
    }


def doubled_users(
    database: AppDatabase, connection: Connection, spool: Spool, policy: ResyncPolicy
) -> tuple[tuple[Duplicate, ...], int]:
    """Name the customers who are several users, with the one who keeps it, and say how many there are."""
    if "customers" not in policy.objects:
        return (), 0
    found, number = app_users.duplicates(database, connection)
    live, doubled = spool.live_among({each[0] for each in found}) if found else set(), []
    for customer, users, owner in found:
        named = spool.key("customers", customer)
        keeper, why = keeper_of(tuple(users), int(named) if named.isdecimal() else owner, live=customer in live)
        if "subscriptions" not in policy.objects:
            keeper, why = None, "subscriptions were not compared, so it cannot be told who owns them"
        doubled.append(Duplicate(customer=customer, users=tuple(users), keeper=keeper, why=why))
    return tuple(doubled), number


def find_parents(orphans: Iterable[Orphan], looks: Looks) -> bool:
    """Ask Stripe for the customers and invoices that payments lack and that were not listed; say whether any."""
    gone = {name: looks.spool.confirmed_gone(name) for name in ("customers", "invoices")}
    unknown = sorted({(o.table, o.parent) for o in orphans if not o.healed and o.parent not in gone[o.table]})
    looks.find([(BY_NAME[table], parent) for table, parent in unknown])
    return bool(unknown)


def _orphans(
    database: AppDatabase, connection: Connection, spool: Spool, policy: ResyncPolicy
) -> tuple[tuple[Orphan, ...], int]:
    if "payments" not in policy.objects:
        return (), 0
    found, number = app_users.orphans(database, connection, policy.objects)
    return tuple(
        Orphan(payment=payment, table=table, parent=parent, healed=spool.known(table, parent))
        for payment, table, parent in found
    ), number
