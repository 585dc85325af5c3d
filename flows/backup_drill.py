"""Backup drill: restore a set in a scratch folder, prove what comes back, measure how long it took, leave nothing.

**Meaning.** A backup that was never restored is a hope. This restores one as in an emergency, at a place where nothing
else lives.

**Impact.** None on production: the copy archives nothing, has a port of its own and never asks for a standby; the
repository is only read. It needs disk and processor on the scratch host.

**Diagnosis.** The report has what came back beside what was counted when the set was taken, whether every index agrees
with its table, and the measured times. The table artifact is the history: one row for each drill and each real
recovery.

**Mitigation.** A drill that fails is an emergency without pressure: the sentence of the evidence that does not hold
says which set or which WAL cannot be trusted. Take a full set with backup-take, then run this again. It cleans up
whatever happens; what a killed drill left is removed by the next one.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.backups.decide_drill import decide_drill
from tasks.backups.drill_act import clear_scratch, fetch_into_scratch, recover_copy, serve_copy
from tasks.backups.judge import figures_of, judge_drill, sum_up, unlooked_restored
from tasks.backups.outcome_probe import observe_recovered
from tasks.backups.policies import DrillPolicy
from tasks.backups.probe import draw_target, observe_scratch, observe_target
from tasks.backups.reach import reach_scratch
from tasks.backups.tell import observe_clean, tell_recovery, tell_sets, worries
from tasks.guard import approve
from tasks.model import Report


@flow(name="backup-drill", flow_run_name="drill-{target}", description=__doc__, validate_parameters=False)
@concludes
def backup_drill(
    target: str,
    policy: DrillPolicy = DrillPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Practise the recovery of a cluster from its repository.

    Args:
        target: Which cluster: the name of its block, its repository and its scratch folder under Blocks, e.g. orders.
        policy: What is practised, and how deep it looks.
        reason: Why, in your words; kept in the report.
        requested_by: Your name.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach_scratch(target)

    drawn = draw_target(at, policy)
    before = observe_target(at, drawn)
    tell_sets(before)
    decision = decide_drill(before, drawn, observe_scratch(at))
    plan = approve(decision, policy, lambda: decision)

    fetch_into_scratch(at, plan)
    recover_copy(at, plan)
    serve_copy(at, plan)
    after = observe_recovered(at, plan)
    clear_scratch(at, plan)

    evidence = judge_drill(plan, after, left=observe_clean(at))
    history = tell_recovery(at, plan, after, evidence)
    figures = figures_of(plan, after)
    return Report(
        plan=plan,
        evidence=evidence,
        figures=figures,
        unverified=unlooked_restored(plan, after) + worries(at, policy, history),
        why=sum_up(plan, after, figures),
    )
