"""The one gate between looking and changing: who may, whether now, and that nobody else does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from blocks.errors import Misconfigured, SalvorError, StandDown, Transient
from blocks.ledger import gate, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Claimed, Intent, NewRun, Run
from tasks.approval import ask_person
from tasks.model import Decision, Plan, Policy
from tasks.patient import refuse_if_patient
from tasks.report import Progress, log

if TYPE_CHECKING:
    from tasks.effects import Undo

__all__ = ["Recovery", "approve", "begin", "current", "ledger", "refuse_if_patient"]

P = TypeVar("P", bound=Plan)


@dataclass
class Recovery:
    """The run that is going on in this thread (and in the tasks that it starts)."""

    ledger: Ledger
    run: Run
    progress: Progress
    token: int = 0
    plan: Plan | None = None
    objection: str = ""  #: in a dry run: what the gate would have said
    approved_by: str = ""  #: who agreed to the plan, with what was said
    waited_seconds: float = 0.0  #: for that
    looks: bool = False  #: the procedure only reads
    gate_passed: bool = False
    begun: list[str] = field(default_factory=list)  #: names of the acts that were begun
    unclear: set[int] = field(default_factory=set)  #: which of them failed without our knowing how far they came
    taken_back: set[int] = field(default_factory=set)  #: which of them were undone
    undos: list[Undo] = field(default_factory=list)

    @property
    def lasting(self) -> tuple[str, ...]:
        """Name the acts that were begun and not taken back."""
        return tuple(name for number, name in enumerate(self.begun) if number not in self.taken_back)

    @property
    def dry_run(self) -> bool:
        """Whether acts are recorded instead of done."""
        return self.run.dry_run


CURRENT: ContextVar[Recovery] = ContextVar("salvor_recovery")


def current() -> Recovery:
    """Give the run that is going on."""
    try:
        return CURRENT.get()
    except LookupError:
        raise SalvorError("This works only inside a procedure: decorate the flow with @concludes.") from None


def ledger() -> Ledger:
    """Load the ledger's block, or say how to make one."""
    try:
        return cast("Ledger", Ledger.load("ledger"))
    except ValueError as error:
        raise Misconfigured(
            "There is no ledger, so nothing may be changed. `make up` makes one; or in Python:"
            ' Ledger(url="postgresql://user:password@host/salvor").save("ledger"),'
            " then: python -m blocks.ledger upgrade"
        ) from error
    except Exception as error:
        raise Transient(f"The ledger's block could not be loaded from Prefect: {error}") from error


def begin(new: NewRun, *, looks: bool = False) -> Recovery:
    """Enter a run into the ledger; LOOKS: its procedure only reads."""
    book = ledger()
    progress = Progress(new.procedure, new.target)
    return Recovery(ledger=book, run=runs.register(book, new), progress=progress, looks=looks)


def approve(decision: Decision[P], policy: Policy, again: Callable[[], Decision[P]]) -> P:
    """Let the plan through the gate, or raise StandDown; nothing was changed before, everything comes after."""
    recovery, plan = current(), _wanted(decision)
    recovery.plan = plan
    asks = bool(plan.ask) or policy.approval == "person"
    intent = _intent(plan, policy, approval=asks)
    if recovery.dry_run:
        recovery.objection = gate.foretell(recovery.ledger, recovery.run.id, intent)
    else:
        claimed = gate.claim(recovery.ledger, recovery.run.id, intent)
        recovery.token = claimed.token
        if asks:
            _approved(recovery, plan, policy, claimed, again)
    recovery.gate_passed = True
    recovery.progress.say("Approved", 20)
    return plan


def _wanted(decision: Decision[P]) -> P:
    log(f"Decided: {decision.verdict}. {decision.why}")
    if decision.verdict == "nothing":
        raise StandDown(decision.why, outcome="NothingToDo")
    if decision.verdict == "refuse" or decision.plan is None:
        raise StandDown(decision.why)
    return decision.plan


def _intent(plan: Plan, policy: Policy, *, approval: bool) -> Intent:
    return Intent(
        resource=plan.resource,
        key=plan.key,
        once=plan.once,
        plan=plan.model_dump(mode="json"),
        digest=plan.digest,
        min_interval_seconds=policy.min_interval_seconds,
        max_attempts=policy.max_attempts,
        approval=approval,
    )


def _approved(recovery: Recovery, plan: P, policy: Policy, claimed: Claimed, again: Callable[[], Decision[P]]) -> None:
    if claimed.approved:
        recovery.approved_by = "a person, before the earlier run died"
        log("A person has already approved exactly this plan, before the earlier run died.")
        runs.start_clock(recovery.ledger, recovery.run.id)
        return
    began = time.monotonic()
    answer = ask_person(recovery.ledger, recovery.run, plan, policy)
    recovery.waited_seconds = time.monotonic() - began
    now = again()
    if now.plan is None or now.plan.digest != plan.digest:
        raise StandDown(f"The world changed while this waited for its approval ({now.why}): run it again.")
    runs.granted(recovery.ledger, recovery.run.id, plan.digest, answer.approver, answer.comment)
    recovery.approved_by = ": ".join(said for said in (answer.approver, answer.comment) if said)
