"""What is left when the body of a procedure has come to its end: the verdict, the report, the ledger's row."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.errors import SalvorError
from blocks.ledger import runs, steps
from blocks.ledger.records import Ending, Notification, StepRecord
from tasks.event import concluded
from tasks.guard import Recovery
from tasks.model import Outcome, Report, Step
from tasks.report import artifact_key, log, publish, run_url
from tasks.report_text import Facts, render
from tasks.verdict import Course, operation_of, outcome_of, outcome_of_error, recorded, urgency_of


def judged(recovery: Recovery, report: Report, error: Exception | None, failed_undos: list[str]) -> Report:
    """Give the report its outcome, its sentence and its timeline."""
    timeline = _timeline(recovery)
    course = Course(
        gate_passed=recovery.gate_passed,
        looks=recovery.looks,
        dry_run=recovery.dry_run,
        begun=tuple(recovery.begun),
        lasting=recovery.lasting,
        failed_undos=tuple(failed_undos),
        plan_why=recovery.plan.why if recovery.plan else "",
        objection=recovery.objection,
        would=recorded(timeline),
    )
    outcome, why = outcome_of_error(error, course) if error else outcome_of(report, course)
    # In a dry run nothing was done, so there is nothing to prove.
    evidence = () if recovery.dry_run and not recovery.looks else report.evidence
    changes = {"outcome": outcome, "why": why, "timeline": timeline, "evidence": evidence}
    changes |= {"look_at": report.look_at if outcome is Outcome.RECOVERED else ()}
    return report.model_copy(update=changes | {"plan": report.plan or recovery.plan})


def _timeline(recovery: Recovery) -> tuple[Step, ...]:
    try:
        return tuple(_step(record) for record in steps.timeline(recovery.ledger, recovery.run.id))
    except SalvorError as error:
        log(f"The timeline is missing, because the ledger did not answer: {error}", warn=True)
        return ()


def _step(record: StepRecord) -> Step:
    seconds = (record.ended_at - record.started_at).total_seconds() if record.ended_at else None
    kept = record.model_dump(include={"name", "sentence", "started_at", "found", "error", "dry"})
    return Step(**kept, seconds=seconds)


def close(recovery: Recovery, report: Report) -> str:
    """Write the end into the ledger, before Prefect is told anything; give the report's text."""
    outcome, markdown = report.outcome or Outcome.NEEDS_HUMAN, render(report, _facts(recovery, report))
    ending = Ending(
        outcome=outcome,
        why=report.why,
        report=report.model_dump(mode="json"),
        markdown=markdown,
        operation=operation_of(outcome),
    )
    events = {str(each.id): each.body() for each in concluded(recovery.run, report.look_at, datetime.now(UTC))}
    try:
        if not runs.close(recovery.ledger, recovery.run.id, ending, _notification(recovery, report), events):
            log("This run had been declared dead; what it did is kept in Prefect only.", warn=True)
    except SalvorError as error:
        log(f"The ledger could not be told how this ended, so the sweep will start it again: {error}", warn=True)
    return markdown


def _facts(recovery: Recovery, report: Report) -> Facts:
    run = recovery.run
    return Facts(
        procedure=run.procedure,
        target=run.target,
        started_at=run.started_at,
        ended_at=datetime.now(UTC),
        requested_by=run.requested_by,
        approved_by=recovery.approved_by,
        reason=str(run.parameters.get("reason", "")),
        alert=run.alert,
        attempt=run.attempt,
        dry_run=run.dry_run and not recovery.looks,
        url=run_url(run.flow_run_id),
        seal=report.seal,
    )


def _notification(recovery: Recovery, report: Report) -> Notification | None:
    outcome = report.outcome or Outcome.NEEDS_HUMAN
    urgency = urgency_of(outcome, dry_run=recovery.dry_run or recovery.looks)
    if urgency is None or report.known or _told_before(recovery, report):
        return None
    run = recovery.run
    return Notification(
        urgency=urgency,
        title=f"{outcome}: {run.procedure} on {run.target}",
        body=report.why,
        about=f"{run.procedure} on {run.target}",
        resolves=outcome is Outcome.RECOVERED and not recovery.dry_run,
        resource=recovery.plan.resource if recovery.plan else "",
        run_id=run.flow_run_id,
        url=run_url(run.flow_run_id),
    )


def _told_before(recovery: Recovery, report: Report) -> bool:
    # What looks every hour and is refused for the same reason each time says so once.
    if not recovery.looks or report.outcome is not Outcome.REFUSED:
        return False
    last = runs.before(recovery.ledger, recovery.run)
    return last is not None and (last.outcome, last.why) == (report.outcome, report.why)


def tell(recovery: Recovery, report: Report, markdown: str) -> None:
    """Show the report in Prefect; when that fails, the sweep does it from the ledger."""
    run, said = recovery.run, f"{report.outcome}: {report.why}"
    recovery.progress.finish(said)
    if not publish(artifact_key(run.procedure, run.target), markdown, said):
        return
    try:
        runs.reported(recovery.ledger, run.id)
    except SalvorError as error:
        log(f"The ledger could not be told that the report was shown: {error}", warn=True)
