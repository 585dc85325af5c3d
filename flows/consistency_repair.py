"""Consistency repair: put the rows right that break the rules of an application, online, with a way back.

**Meaning.** Rows point to nothing, keys are doubled, statuses disagree, jobs hang: consistency-check found them.

**Impact.** Rows are changed in batches that lock few of them for some 50 ms, while the application goes on. What is
taken out of a table goes to a quarantine beside it, and every changed field keeps its old value.

**Diagnosis.** Run it as it stands: a dry run. The table artifact is the plan: how many rows of which rule, examples,
what would be done, and what it would cost. A rule that finds very many rows is refused: it is more often wrong itself.

**Mitigation.** Read the plan, then run it with `dry_run` off. Only rows that were found and are still wrong are
touched. A hold on the target (recovery-hold) stops it after the batch. consistency-undo with the id of the run gives
everything back. Running it again is safe: it goes on where a run that died has stopped.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.consistency.decide_repair import decide_again, decide_repair
from tasks.consistency.judge_repair import figures_of, judge_repair, unlooked
from tasks.consistency.reach import reach
from tasks.consistency.repair_act import advance_sequences, prove_fences, raise_fences, repair_rows
from tasks.consistency.repair_policies import RepairPolicy
from tasks.consistency.repair_probe import observe_faults, observe_repaired, observe_rules
from tasks.consistency.repair_tell import tell_plan
from tasks.guard import approve
from tasks.model import Report


@flow(name="consistency-repair", flow_run_name="repair-{target}", description=__doc__, validate_parameters=False)
@concludes
def consistency_repair(
    target: str,
    policy: RepairPolicy = RepairPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Put the rows of an application right, by the rules of its pack.

    Args:
        target: Which database: the name of its AppDatabase block under Blocks, e.g. shop.
        policy: Which rules, how many rows at most, and how gently. It begins as a dry run.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target, policy)

    before = observe_faults(at, policy)
    decision = decide_repair(before, policy)
    tell_plan(decision, target, before.seen.findings)
    plan = approve(decision, policy, lambda: decide_again(decision, observe_rules(at, policy)))

    raise_fences(at, plan, policy)
    repair_rows(at, plan, policy)  # the point of no return; consistency-undo gives it back
    advance_sequences(at, plan, policy)
    prove_fences(at, plan, policy)

    after = observe_repaired(at, plan, policy)
    return Report(
        plan=plan,
        evidence=judge_repair(plan, after),
        figures=figures_of(plan, after),
        unverified=unlooked(plan, after),
    )
