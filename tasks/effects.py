"""What a procedure is made of: `@probe` reads, `@act` writes, and each act can be fenced, recorded and taken back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from prefect import task
from prefect.tasks import Task

from blocks.errors import Ambiguous, LeaseLost, SalvorError
from blocks.ledger import steps
from blocks.ledger.records import StepRecord
from tasks.guard import Recovery, current
from tasks.report import log
from tasks.retries import ACT, READ

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Undo:
    """How one act is taken back."""

    number: int  #: of the act, in the order in which they were begun
    name: str
    sentence: str
    call: Callable[[], str]


@dataclass(frozen=True)
class _Kind:
    sentence: str
    undo: Callable[..., str] | None
    point_of_no_return: bool


def probe(body: Callable[P, R]) -> Task[P, R]:
    """Read something; asked again when there was no answer."""
    return task(name=_dashed(body), **READ)(body)


def act(
    sentence: str, *, undo: Callable[..., str] | None = None, point_of_no_return: bool = False
) -> Callable[[Callable[P, str]], Task[P, str]]:
    """Change something. SENTENCE is what the operator reads; the body returns what it found or did.

    UNDO is called with the same arguments when the run stops before the point of no return; it must be safe to call
    when the act did nothing. An act is done only while the run holds the lease of its target.
    """
    kind = _Kind(sentence, undo, point_of_no_return)

    def decorate(body: Callable[P, str]) -> Task[P, str]:
        @wraps(body)
        def fenced(*args: P.args, **kwargs: P.kwargs) -> str:
            given = inspect.signature(body).bind(*args, **kwargs)
            return _performed(kind, _dashed(body), given, lambda: body(*args, **kwargs))

        return task(name=_dashed(body), **ACT)(fenced)

    return decorate


def _performed(kind: _Kind, name: str, given: inspect.BoundArguments, body: Callable[[], str]) -> str:
    recovery, said = current(), _worded(kind.sentence, given)
    step = _step(recovery, name, said)
    if recovery.dry_run:
        steps.note_step(recovery.ledger, step.model_copy(update={"dry": True, "ended_at": step.started_at}))
        log(f"Dry run, not done: {said}")
        return ""
    steps.begin_step(recovery.ledger, recovery.run.id, recovery.token, step)
    number = _remember(recovery, kind, name, given)
    log(said)
    recovery.progress.say(said, 20 + 10 * len(recovery.begun))
    try:
        return _watched(recovery, step.id, body)
    except Ambiguous:
        recovery.unclear.add(number)
        raise


def _remember(recovery: Recovery, kind: _Kind, name: str, given: inspect.BoundArguments) -> int:
    number = len(recovery.begun)
    recovery.begun.append(name)
    if kind.point_of_no_return:
        recovery.undos.clear()
    elif kind.undo is not None:
        undo = kind.undo
        sentence = (inspect.getdoc(undo) or f"Take back: {name}").splitlines()[0]
        recovery.undos.append(Undo(number, name, sentence, lambda: undo(*given.args, **given.kwargs)))
    return number


def _watched(recovery: Recovery, step_id: str, body: Callable[[], str]) -> str:
    try:
        found = body() or ""
    except SalvorError as error:
        _ended(recovery, step_id, error=str(error))
        raise
    except Exception as error:
        _ended(recovery, step_id, error=f"{type(error).__name__}: {error}")
        raise Ambiguous(f"It is not known whether this was done: {type(error).__name__}: {error}") from error
    _ended(recovery, step_id, found=found)
    log(f"  {found}")
    return found


def _ended(recovery: Recovery, step_id: str, *, found: str = "", error: str = "") -> None:
    try:
        steps.end_step(recovery.ledger, step_id, found=found, error=error)
    except SalvorError as failure:  # it is done, and the next act asks the ledger anyway
        log(f"The ledger could not be told how this ended: {failure}", warn=True)


def take_back(recovery: Recovery, error: Exception) -> list[str]:
    """Undo, newest first, what can be; the act that failed without our knowing how is left alone. Say what failed."""
    if isinstance(error, LeaseLost) or recovery.dry_run:
        return []
    failures = []
    while recovery.undos:
        undo = recovery.undos.pop()
        if undo.number in recovery.unclear:
            continue
        try:
            _undone(recovery, undo)
        except Exception as failure:  # noqa: BLE001  # the other undos must still be tried, and all of it is reported
            failures.append(f"{undo.sentence} {failure}")
        else:
            recovery.taken_back.add(undo.number)
    return failures


def _undone(recovery: Recovery, undo: Undo) -> None:
    step = _step(recovery, f"undo-{undo.name}", undo.sentence).model_copy(update={"undo": True})
    steps.begin_step(recovery.ledger, recovery.run.id, recovery.token, step)
    log(undo.sentence)
    _watched(recovery, step.id, undo.call)


def _step(recovery: Recovery, name: str, sentence: str) -> StepRecord:
    return StepRecord(
        id=str(uuid4()),
        run_id=recovery.run.id,
        name=name,
        sentence=sentence,
        started_at=datetime.now(UTC),
        ended_at=None,
        found="",
        error="",
        dry=False,
        undo=False,
    )


def _worded(sentence: str, given: inspect.BoundArguments) -> str:
    try:
        return sentence.format(**given.arguments)
    except (AttributeError, KeyError, IndexError, ValueError):  # a slip in the wording must not stop a recovery
        return sentence


def _dashed(body: Callable[..., Any]) -> str:
    return body.__name__.replace("_", "-")
