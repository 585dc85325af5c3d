"""Extract: bring tables back as they were at a moment, beside those that are there; the database is not taken away.

**Meaning.** A person or a deployment deleted or spoilt rows of a few tables, or dropped one. All else is right, so that
backup-restore would cost more than it saves.

**Impact.** The tables are restored in the scratch folder and loaded into a schema of their own, in one transaction: no
table of production is touched, nobody waits. It costs disk on both hosts, and the primary writes what is loaded.

**Diagnosis.** The report compares the copy with what was restored, row by row, and says how many rows production lacks
or has otherwise now. *Refused* names what cannot be brought back: views, unlogged and inherited tables, tables of
extensions. A type or function that the tables use must still be there.

**Mitigation.** Name the tables and a moment shortly before the mistake. Then look with the first statement of the
report, and bring rows back with the second, or with one of yours. Triggers fire for what you insert. Drop the schema
when you are done. What a run that died has left is removed by the next one.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.backups.decide_extract import decide_extract
from tasks.backups.drill_act import clear_scratch, fetch_into_scratch, recover_copy
from tasks.backups.extract_act import copy_beside, set_apart
from tasks.backups.extract_probe import observe_beside, observe_ground
from tasks.backups.extract_state import ExtractPolicy
from tasks.backups.judge_extract import figures_of_extract, judge_extract, next_steps, sum_up_extract
from tasks.backups.probe import observe_scratch, observe_target
from tasks.backups.reach import reach_scratch
from tasks.backups.tell import observe_clean
from tasks.guard import approve
from tasks.model import Report


@flow(name="backup-extract", flow_run_name="extract-{target}", description=__doc__, validate_parameters=False)
@concludes
def backup_extract(
    target: str,
    policy: ExtractPolicy = ExtractPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Bring tables of a cluster back beside those that are there.

    Args:
        target: Which cluster: the name of its block, its repository and its scratch folder under Blocks, e.g. orders.
        policy: Which tables, as of which moment, into which schema.
        reason: What happened, in your words; kept in the report.
        requested_by: Your name.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach_scratch(target)

    before = observe_target(at, policy)
    decision = decide_extract(before, policy, observe_scratch(at), observe_ground(at, before, policy))
    plan = approve(decision, policy, lambda: decision)

    fetch_into_scratch(at, plan)
    recover_copy(at, plan)
    set_apart(at, plan)
    copy_beside(at, plan)
    seen = observe_beside(at, plan)
    clear_scratch(at, plan)  # the point of no return: until here the copies are taken back

    return Report(
        plan=plan,
        evidence=judge_extract(plan, seen, left=observe_clean(at)),
        figures=figures_of_extract(seen),
        unverified=next_steps(plan, seen),
        why=sum_up_extract(plan, seen),
    )
