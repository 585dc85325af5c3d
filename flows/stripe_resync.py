"""Stripe resync: compare everything with Stripe, and bring every row that differs to what Stripe says.

**Meaning.** The application's copies of customers, subscriptions, invoices and payments may have drifted from Stripe:
webhooks were lost, handled twice or out of order, or somebody wrote into the tables.

**Impact.** Customers who pay have no access, or the other way round; reports and invoices are wrong. Stripe itself is
only read. No row is deleted: what Stripe no longer has gets a tombstone.

**Diagnosis.** Run it as it stands: a dry run lists every difference with old and new value (the table artifact of the
run shows the first, the file it names has all), users who share a customer, and payments without one. Many rows that
would vanish mean the wrong key or database, and are refused.

**Mitigation.** Read the differences, then run it with `dry_run` off. Old and new value of every field are kept in
`salvor.stripe_changes`; stripe-undo gives them back. Events that were never handled are for stripe-replay: it also runs
their effects. Running it again is safe: the second run changes nothing.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.stripe.decide_resync import decide_resync
from tasks.stripe.judge_resync import figures_of, judge_resync, unlooked
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.reach import reach
from tasks.stripe.resync_act import repair_rows, settle_duplicates
from tasks.stripe.resync_probe import observe_drift, observe_repaired
from tasks.stripe.resync_tell import tell_drift


@flow(name="stripe-resync", flow_run_name="resync-{target}", description=__doc__, validate_parameters=False)
@concludes
def stripe_resync(
    target: str,
    policy: ResyncPolicy = ResyncPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Make the application's copies equal to Stripe.

    Args:
        target: Which account: the name of its StripeAccount block under Blocks, e.g. shop.
        policy: What is compared, and what may be repaired. It begins as a dry run.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_drift(at, policy)
    tell_drift(before, policy)
    plan = approve(decide_resync(before, policy), policy, lambda: decide_resync(observe_drift(at, policy), policy))

    repair_rows(at, plan)  # the point of no return; stripe-undo gives it back
    settle_duplicates(at, plan)

    after = observe_repaired(at, plan, policy)
    return Report(
        plan=plan,
        evidence=judge_resync(plan, after),
        figures=figures_of(before, after, plan),
        unverified=unlooked(before, after, policy),
    )
