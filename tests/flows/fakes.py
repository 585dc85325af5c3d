"""A procedure whose patient is a list: every probe, act and undo can be told to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prefect import flow

from flows.procedure import concludes
from tasks.effects import act, probe
from tasks.guard import approve
from tasks.model import Decision, Evidence, Plan, Policy, Report
from tests.ledgers import RESOURCE


@dataclass
class Patient:
    """What was done to it, what the probes say, and what goes wrong where."""

    done: list[str] = field(default_factory=list)
    wrong: dict[str, Callable[[], object]] = field(default_factory=dict)
    decision: Callable[[], Decision[FakePlan]] = lambda: Decision.go(plan())
    holds: bool = True
    look_at: tuple[str, ...] = ()

    def touch(self, what: str) -> str:
        self.done.append(what)
        self.look(what)
        return f"{what} done"

    def look(self, what: str) -> None:
        if what in self.wrong:
            self.wrong[what]()


class FakePlan(Plan):
    volatile = frozenset({"lag_bytes"})

    old: str = "n1"
    new: str = "n2"
    lag_bytes: int = 0


class FakePolicy(Policy):
    min_interval_seconds: int = 0
    rpo_bytes: int = 0


PATIENT = Patient()


def plan(**changes: Any) -> FakePlan:
    facts = {"resource": RESOURCE, "key": "k1", "why": "n1 is gone and n2 has everything", "loss": "Nothing is lost."}
    return FakePlan(**facts | changes)


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


@probe
def observe() -> Decision[FakePlan]:
    """Look."""
    PATIENT.look("observe")
    return PATIENT.decision()


def unpause(_plan: FakePlan) -> str:
    """Let the clients go on."""
    return PATIENT.touch("unpause")


@act("Hold the clients of {plan.old}", undo=unpause)
def pause(plan: FakePlan) -> str:
    """Hold the clients."""
    return PATIENT.touch("pause")


def unfence(_plan: FakePlan) -> str:
    """Start the old primary again."""
    return PATIENT.touch("unfence")


@act("Stop {plan.old}, so that it can never accept another write", undo=unfence)
def fence(plan: FakePlan) -> str:
    """Stop it."""
    return PATIENT.touch("fence")


@act("Promote {plan.new}", point_of_no_return=True)
def promote(plan: FakePlan) -> str:
    """Promote it."""
    return PATIENT.touch("promote")


@act("Send the writes to {plan.new}")
def route(plan: FakePlan) -> str:
    """Route."""
    return PATIENT.touch("route")


@flow(name="fake-failover", flow_run_name="fake-{target}", validate_parameters=False)
@concludes
def fake_failover(
    target: str,
    policy: FakePolicy = FakePolicy(),  # noqa: B008
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Promote a list."""
    decision = observe()
    plan = approve(decision, policy, observe)

    pause(plan)
    fence.submit(plan).result()
    PATIENT.look("between")

    promote(plan)
    route(plan)

    PATIENT.look("after")
    evidence = (Evidence(claim="n2 accepts writes", seen="it does", holds=PATIENT.holds),)
    return Report(plan=plan, evidence=evidence, look_at=PATIENT.look_at)


@flow(name="fake-careless", validate_parameters=False)
@concludes
def fake_careless(target: str, policy: FakePolicy = FakePolicy()) -> Report:  # noqa: B008
    """Act without an undo, and then think better of it."""
    plan = approve(observe(), policy, observe)
    route(plan)
    PATIENT.look("between")
    return Report(plan=plan)


@flow(name="fake-hasty", validate_parameters=False)
@concludes
def fake_hasty(target: str, policy: FakePolicy = FakePolicy()) -> Report:  # noqa: B008
    """Act before the gate."""
    route(plan())
    return Report()


@flow(name="fake-outer", validate_parameters=False)
@concludes
def fake_outer(target: str, policy: FakePolicy = FakePolicy()) -> Report:  # noqa: B008
    """Run a procedure inside a procedure."""
    PATIENT.look("outer")
    inner = fake_failover(target, policy, return_state=True)
    PATIENT.look("outer")
    return Report(evidence=(Evidence(claim="the inner one recovered", seen=str(inner.name), holds=True),))


class Died(BaseException):
    """The process died here."""
