"""Stripe undo: give back what a run of stripe-resync changed.

**Meaning.** A resync changed rows that should have stayed: the mapping, the account or the policy was wrong.

**Impact.** The rows get back every value that they had before that run. The next resync lists them again.

**Diagnosis.** `salvor.stripe_changes` in the application's database has old and new value of every field that was
changed, by run. A dry run of this says how many rows would be given back, and which were changed again since.

**Mitigation.** Run this with the id of that run. A row that somebody changed since is left alone and listed. Then mend
what was wrong (the blocks, the policy) before the next resync.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.stripe.decide_undo import decide_undo, judge_undo, unlooked
from tasks.stripe.policies import UndoPolicy
from tasks.stripe.reach import reach
from tasks.stripe.resync_act import give_back
from tasks.stripe.undo_probe import observe_changes


@flow(name="stripe-undo", flow_run_name="undo-{target}", description=__doc__, validate_parameters=False)
@concludes
def stripe_undo(
    target: str,
    policy: UndoPolicy = UndoPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Give back the rows that a run changed.

    Args:
        target: Which account: the name of its StripeAccount block under Blocks, e.g. shop.
        policy: Which run's changes are given back.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_changes(at, policy)
    plan = approve(decide_undo(before, policy), policy, lambda: decide_undo(observe_changes(at, policy), policy))

    give_back(at, plan)  # the only act

    after = observe_changes(at, policy)
    return Report(plan=plan, evidence=judge_undo(plan, after), unverified=unlooked(plan))
