"""What makes a flow a procedure: whatever happens, it ends in one of five outcomes, with a report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec
from uuid import uuid4

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from pydantic import BaseModel, TypeAdapter, ValidationError

from blocks.errors import Misconfigured, SalvorError
from blocks.ledger import runs
from blocks.ledger.records import NewRun
from tasks import ending, guard
from tasks.effects import take_back
from tasks.guard import Recovery
from tasks.heartbeat import Heartbeat
from tasks.model import Outcome, Policy, Report
from tasks.report import artifact_key, log, publish
from tasks.report_text import Facts, render

P = ParamSpec("P")
RESUMES = "salvor-resume-"  #: begins the idempotency key of a run that goes on for a dead one


def concludes(body: Callable[P, Report]) -> Callable[P, State[Report]]:
    """Run BODY as a procedure: entered in the ledger, kept alive, fenced, judged, reported. Stands below `@flow`."""
    signature = inspect.signature(body, eval_str=True)

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> State[Report]:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        return _concluded(body, *_read(signature, given.arguments))

    # Prefect reads the form from the signature, and cannot resolve the body's annotations from this module.
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _concluded(
    body: Callable[..., Report], arguments: dict[str, Any], unreadable: Misconfigured | None
) -> State[Report]:
    new = _announcement(arguments)
    try:
        recovery = guard.begin(new, looks=_policy(arguments).looks)
    except SalvorError as error:
        return _without_ledger(new, error)
    with _alive(recovery):
        report, stop = (Report(), unreadable) if unreadable else _attempted(body, arguments)
        failed_undos = take_back(recovery, stop) if stop else []
        report = ending.judged(recovery, report, stop, failed_undos)
        markdown = ending.close(recovery, report)
    ending.tell(recovery, report, markdown)
    return _state(report)


def _attempted(body: Callable[..., Report], arguments: dict[str, Any]) -> tuple[Report, Exception | None]:
    try:
        return body(**arguments), None
    except Exception as error:  # noqa: BLE001  # every error becomes an outcome; none may escape unjudged
        if not isinstance(error, SalvorError):
            log(f"{type(error).__name__}: {error}", warn=True)
        return Report(), error


def _read(signature: inspect.Signature, form: dict[str, Any]) -> tuple[dict[str, Any], Misconfigured | None]:
    """Read what the form sent: the tick that validates it can be unticked in the UI."""
    arguments, wrong = dict(form), []
    for name, value in form.items():
        kind = signature.parameters[name].annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel | str) and not isinstance(value, kind):
            try:
                arguments[name] = TypeAdapter(kind).validate_python(value)
            except ValidationError as error:
                wrong += [f"{'.'.join(map(str, [name, *e['loc']]))}: {e['msg']}" for e in error.errors()]
    if not wrong:
        return arguments, None
    return arguments, Misconfigured(
        f"The form was not filled in right ({'; '.join(wrong)}). Correct it and run this again."
    )


@contextmanager
def _alive(recovery: Recovery) -> Iterator[None]:
    token = guard.CURRENT.set(recovery)
    heartbeat = Heartbeat(recovery.ledger, recovery.run.id)
    heartbeat.start()
    try:
        yield
    except BaseException:
        heartbeat.stop()
        _abandon(recovery)
        raise
    finally:
        heartbeat.stop()
        guard.CURRENT.reset(token)


def _abandon(recovery: Recovery) -> None:
    # The process was told to stop (SIGTERM, Ctrl-C): whoever goes on with this need not wait for the lease to end.
    try:
        runs.abandon(recovery.ledger, recovery.run.id)
    except SalvorError as error:
        log(f"The ledger could not be told that this run was stopped: {error}", warn=True)


def _announcement(arguments: dict[str, Any]) -> NewRun:
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    policy = _policy(arguments)
    key = (flow_run.idempotency_key if flow_run else None) or ""
    return NewRun(
        flow_run_id=str(flow_run.id) if flow_run else str(uuid4()),
        procedure=context.flow.name if context and context.flow else "procedure",
        target=str(arguments.get("target", "")),
        deployment_id=str(flow_run.deployment_id) if flow_run and flow_run.deployment_id else None,
        parameters=dict(flow_run.parameters) if flow_run else {},
        requested_by=str(arguments.get("requested_by", "")),
        alert=str(arguments.get("alert", "")),
        dry_run=policy.dry_run,
        max_attempts=policy.max_attempts,
        timeout_seconds=policy.timeout_seconds,
        resumes=key.removeprefix(RESUMES) if key.startswith(RESUMES) else None,
    )


def _policy(arguments: dict[str, Any]) -> Policy:
    policy = arguments.get("policy")
    return policy if isinstance(policy, Policy) else Policy()


def _without_ledger(new: NewRun, error: SalvorError) -> State[Report]:
    report, at = Report(outcome=Outcome.REFUSED, why=str(error)), datetime.now(UTC)
    facts = Facts(procedure=new.procedure, target=new.target, started_at=at, ended_at=at)
    publish(artifact_key(new.procedure, new.target), render(report, facts), str(error))
    return _state(report)


def _state(report: Report) -> State[Report]:
    outcome = report.outcome or Outcome.NEEDS_HUMAN
    log(f"{outcome}: {report.why}", warn=not outcome.succeeded)
    make = Completed if outcome.succeeded else Failed
    return make(name=outcome.value, message=report.why, data=report)
