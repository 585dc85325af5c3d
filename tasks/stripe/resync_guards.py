"""What is made sure of before anything is listed: the tables are as the mapping says, and of the account's mode."""

from __future__ import annotations

from blocks import app_audit
from blocks.app_database import AppDatabase
from blocks.app_rows import SyncedRows
from blocks.errors import Misconfigured
from blocks.stripe_errors import StripeStopped
from tasks.stripe.kinds import fields_of
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.reach import Reach


def refuse_misfits(database: AppDatabase, policy: ResyncPolicy) -> None:
    """Raise Misconfigured when the mapping does not fit the catalog."""
    wrong = database.misfits(policy.objects, to_write=not policy.dry_run)
    wrong += database.misfits(["users"], to_write=policy.duplicates == "repair" and not policy.dry_run)
    wrong += [
        f"{database.table(table).table} has no column of when Stripe made the object, so since_days cannot be used."
        for table in policy.objects
        if policy.since_days and "created_at" not in database.table(table).columns()
    ]
    if not policy.dry_run:
        with database.reading() as connection:
            wrong += [lack] if (lack := app_audit.missing_right(connection)) else []
    if wrong:
        raise Misconfigured("The AppDatabase block does not fit the database. " + " ".join(wrong))


def refuse_other_mode(at: Reach, policy: ResyncPolicy) -> None:
    """Raise StripeStopped when the rows are of another mode than the account."""
    with at.database.reading() as connection:
        for table in policy.objects:
            modes = SyncedRows(at.database, table, fields_of(table)).livemodes(connection)
            if modes - {at.account.livemode}:
                ours, theirs = ("live mode", "a sandbox") if not at.account.livemode else ("a sandbox", "live mode")
                raise StripeStopped(
                    f"{at.database.table(table).table} has rows of {ours}, and the account is in {theirs}: this key"
                    " and this database do not belong together."
                )
