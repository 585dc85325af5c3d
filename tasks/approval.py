"""Asking a person, who must not be the one who asked for the run."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Literal

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field, ValidationError

from blocks.errors import SalvorError, StandDown
from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.ledger.records import Notification, Run
from blocks.prefect_runs import PrefectRuns
from tasks.model import Plan, Policy
from tasks.report import log, plan_details, plan_text, run_url

#: Prefect's UI hides it well.
TO_ANSWER = "To answer, open this run in the UI and choose Resume in its menu, the three dots at the top right."


class Approval(RunInput):
    """The form under the Resume button."""

    decision: Literal["approve", "reject"] = Field(
        description="approve: do exactly this, now. reject: end the run; nothing is changed."
    )
    approver: str = Field(min_length=2, description="Your name. Whoever asked for this run cannot approve it.")
    comment: str = Field(default="", description="Why, in your words; kept in the report.")


def ask_person(ledger: Ledger, run: Run, plan: Plan, policy: Policy) -> Approval:
    """Wait for somebody other than the requester to approve PLAN; raise StandDown when nobody does."""
    _know_requester(run)
    give_up = time.monotonic() + policy.approval_seconds
    question = _question(run, plan, datetime.now(UTC) + timedelta(seconds=policy.approval_seconds))
    _announce(ledger, run, plan, question)
    notice, asked = "", 0
    while True:
        answer = _answer(run, plan, give_up, f"{_marked(notice)}{question}\n\n{plan_details(plan)}", asked)
        notice, asked = _objection(run, answer), asked + 1
        if answer is not None and not notice:
            return _agreed(answer)
        log(notice)


def _know_requester(run: Run) -> None:
    if not run.requested_by.strip() and not run.alert:
        raise StandDown(
            "This needs an approval by somebody other than the requester: say in requested_by who asks for it."
        )


def _question(run: Run, plan: Plan, until: datetime) -> str:
    reason = str(run.parameters.get("reason", ""))
    asked_by = ": ".join(said for said in (run.requested_by or f"alert {run.alert}", reason.rstrip(".")) if said)
    return (
        f"{plan_text(plan)}\n\n"
        f"**{run.procedure} on {run.target}** was asked for by {asked_by}. Nothing has been changed yet. Without an"
        f" answer before {until:%Y-%m-%d %H:%M:%S} UTC nothing will be."
    )


def _answer(run: Run, plan: Plan, give_up: float, description: str, asked: int) -> Approval | None:
    left = max(1, int(give_up - time.monotonic()))
    form = Approval.with_initial_data(description=description)
    try:
        return pause_flow_run(wait_for_input=form, timeout=left, poll_interval=1, key=f"approval-{asked}")
    except FlowPauseTimeout:
        _go_on(run)
        raise StandDown(
            f"Nobody approved the plan for {plan.resource} in time, so nothing was done. Run {run.procedure} again"
            " when somebody can look at it."
        ) from None
    except (ValidationError, ValueError):  # resumed without the form, or with one that is not filled in
        return None


def _go_on(run: Run) -> None:
    try:
        PrefectRuns().go_on(run.flow_run_id)
    except SalvorError as error:
        log(f"Prefect will show this end only after the next sweep: {error}", warn=True)


def _marked(notice: str) -> str:
    return f"> **{notice}**\n\n" if notice else ""


def _objection(run: Run, answer: Approval | None) -> str:
    if answer is None:
        return "That was not an answer. Choose approve or reject, and give your name."
    if answer.decision == "approve" and _same(answer.approver, run.requested_by):
        return f"{answer.approver} asked for this run, so somebody else must approve it."
    return ""


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _agreed(answer: Approval) -> Approval:
    if answer.decision == "reject":
        because = f": {answer.comment}" if answer.comment else ""
        raise StandDown(f"{answer.approver} rejected the plan{because}.")
    log(f"{answer.approver} approved the plan. {answer.comment}".strip())
    return answer


def _announce(ledger: Ledger, run: Run, plan: Plan, question: str) -> None:
    log(f"Waiting for an approval: {TO_ANSWER}")
    note = Notification(
        urgency="page",
        title=f"{run.procedure} on {run.target} waits for an approval",
        body=f"{question}\n\n{TO_ANSWER}",
        about=f"{run.procedure} on {run.target}",
        resource=plan.resource,
        run_id=run.flow_run_id,
        url=run_url(run.flow_run_id),
    )
    outbox.put(ledger, "notification", f"{run.id}.approval", note.model_dump())
