"""Tell on-call that the application and Stripe have drifted apart, when a dry run that nobody watches finds it."""

from __future__ import annotations

from blocks.ledger import outbox
from blocks.ledger.records import Notification
from tasks.guard import current
from tasks.report import run_url
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.state import Drift


def tell_drift(seen: Drift, policy: ResyncPolicy) -> None:
    """Put a notification into the outbox, once for each run."""
    if not (policy.dry_run and policy.alert_on_drift and seen.drift):
        return
    run = current().run
    found = ", ".join(f"{table.table} {table.drift:,}" for table in seen.tables if table.drift)
    note = Notification(
        urgency="inform",
        title=f"Stripe and {run.target} differ in {seen.drift:,} rows",
        body=f"{found}. Read the differences in the run, then run stripe-resync with dry_run off.",
        about=f"stripe drift on {run.target}",
        resource=seen.resource,
        run_id=run.flow_run_id,
        url=run_url(run.flow_run_id),
    )
    outbox.put(current().ledger, "notification", f"{run.id}.drift", note.model_dump())
