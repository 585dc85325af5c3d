"""What becomes of a run whose process died, and how Prefect learns an end that only the ledger knows."""

from __future__ import annotations

import logging

from blocks.ledger import orphans, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, Run
from blocks.prefect_runs import Runs, Unstartable
from flows.procedure import RESUMES
from tasks.model import Outcome
from tasks.report import artifact_key
from tasks.verdict import operation_of

LOG = logging.getLogger("salvor.sweep")
OUTCOMES = {outcome.value for outcome in Outcome}


def resume(ledger: Ledger, prefect: Runs, run: Run) -> None:
    """Start a dead run's deployment again with the same parameters, unless that is not wanted."""
    if run.ended_at is not None:
        return
    seen = prefect.standing(run.flow_run_id)
    if seen is not None and seen.cancelled:
        if not seen.over:
            prefect.cancel(run.flow_run_id)
        orphans.give_up(ledger, run.id, _cancelled(run), cancelled=True)
    elif seen is not None and seen.over and seen.name in OUTCOMES:
        ending = Ending(outcome=seen.name, why=seen.message, operation=operation_of(Outcome(seen.name)))
        orphans.end_as_told(ledger, run.id, ending)
    else:
        if seen is not None and not seen.over:
            prefect.crash(run.flow_run_id, "Its process gave no sign of life; it is started again as a new run.")
        _start_again(ledger, prefect, run)


def _start_again(ledger: Ledger, prefect: Runs, run: Run) -> None:
    try:
        new = prefect.start(run.deployment_id or "", run.parameters, f"{RESUMES}{run.id}")
    except Unstartable as error:
        orphans.give_up(ledger, run.id, f"The process of this run died, and it could not be started again. {error}")
    else:
        LOG.warning("Run %s goes on for the dead run %s.", new, run.id)


def _cancelled(run: Run) -> str:
    if run.changed_at is None:
        return "A person cancelled this run before it had changed anything."
    return (
        "A person cancelled this run after it had begun to change things. It is not started again by itself:"
        " look at its timeline, then run it again to bring it to an end."
    )


def settle(ledger: Ledger, prefect: Runs, run: Run) -> None:
    """See to it that Prefect shows the end, and the report, that the ledger holds."""
    seen = prefect.standing(run.flow_run_id)
    if seen is not None:
        if run.reported_at is None and run.markdown:
            said = f"{run.outcome}: {run.why}"
            prefect.report(run.flow_run_id, artifact_key(run.procedure, run.target), run.markdown, said)
            runs.reported(ledger, run.id)
        if not seen.cancelled and seen.name not in OUTCOMES:
            outcome = Outcome(run.outcome or Outcome.NEEDS_HUMAN)
            prefect.end(run.flow_run_id, outcome, run.why, succeeded=outcome.succeeded)
    runs.settled(ledger, run.id)
