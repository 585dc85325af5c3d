"""Consistency undo: give back what a run of consistency-repair changed.

**Meaning.** A repair changed rows that should have stayed as they were: a rule was wrong.

**Impact.** The rows get back every value they had, and rows in the quarantine return to their table. What the run added
to keep wrong rows out is taken away first. The next consistency-check finds the rows wrong again.

**Diagnosis.** `salvor.consistency_changes` has old and new value of each field, and `salvor.quarantine_…` the rows that
were moved. A dry run of this says how many rows would be given back, and which were changed again since.

**Mitigation.** Run this with the id of that run, which stands in its report. A row that somebody changed since is left
alone and listed. Then correct the rule in the RulePack block before the next repair.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.consistency.decide_undo import decide_undo, judge_undo, unlooked
from tasks.consistency.repair_policies import UndoPolicy
from tasks.consistency.undo_act import give_rows_back, unfence
from tasks.consistency.undo_probe import Changed, observe_changes
from tasks.guard import approve
from tasks.model import Report


@flow(name="consistency-undo", flow_run_name="undo-{target}", description=__doc__, validate_parameters=False)
@concludes
def consistency_undo(
    target: str,
    policy: UndoPolicy = UndoPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Give back the rows that a run changed.

    Args:
        target: Which database: the name of its AppDatabase block under Blocks, e.g. shop.
        policy: Which run's changes are given back.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = Changed(target)

    before = observe_changes(at, policy)
    plan = approve(decide_undo(before, policy), policy, lambda: decide_undo(observe_changes(at, policy), policy))

    unfence(at, plan)
    give_rows_back(at, plan)  # the point of no return

    after = observe_changes(at, policy)
    return Report(plan=plan, evidence=judge_undo(plan, after), unverified=unlooked(after))
