"""Bring rows to what Stripe says, one statement for each table, and give them back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from blocks import app_audit, app_users
from blocks.app_users import Release
from tasks.effects import act
from tasks.guard import current
from tasks.stripe.kinds import fields_of
from tasks.stripe.reach import Reach
from tasks.stripe.repair import repaired
from tasks.stripe.spool import Spool
from tasks.stripe.state import ResyncPlan, UndoPlan

USER_FIELDS = ("stripe_customer_id",)


@act("Bring {plan.changes} rows to what Stripe says ({plan.counted})", point_of_no_return=True)
def repair_rows(at: Reach, plan: ResyncPlan) -> str:
    """Change each row that is still as it was read, and keep old and new value of every field.

    Each table is a transaction of its own: after a kill the next run finds what is left.
    """
    with closing(Spool.of(Path(plan.spool))) as spool:
        done = repaired(at.database, spool, plan.tables, plan.operations, current().run.id)
    return ", ".join(f"{table}: {number:,}" for table, number in done.items()) or "no row had to change"


@act("Settle {plan.shared} customers that several users share")
def settle_duplicates(at: Reach, plan: ResyncPlan) -> str:
    """Take a customer from every user but the one who owns its subscriptions; a person has approved it."""
    run, released = current().run.id, 0
    with at.database.writing() as connection:
        app_audit.make(connection)
        for each in plan.duplicates:
            if each.keeper is not None:
                others = [user for user in each.users if user != each.keeper]
                released += app_users.release(at.database, connection, run, Release(each.customer, each.keeper, others))
    return f"{released} users lost a customer that is another's" if plan.duplicates else "there are none to settle"


@act("Give back {plan.changes} rows as they were before run {plan.run_id}", point_of_no_return=True)
def give_back(at: Reach, plan: UndoPlan) -> str:
    """Restore each row that is still as the run left it; all of them in one transaction."""
    by, found = current().run.id, []
    with at.database.writing() as connection:
        for table in plan.tables:
            fields = USER_FIELDS if table == "users" else fields_of(table)
            audited = app_audit.Audited(at.database, table, fields)
            found.append(f"{table}: {audited.give_back(connection, plan.run_id, by):,}")
    return ", ".join(found)
