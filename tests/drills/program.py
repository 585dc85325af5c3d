"""The steps of a procedure, read from its flow: what a kill can come between, and in the middle of."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal

from prefect.tasks import Task

from tasks.guard import approve
from tasks.retries import ACT

PROCEDURES = ("postgres-failover", "postgres-rejoin", "postgres-switchover")
BACKUPS = ("backup-take", "backup-restore", "backup-drill", "disaster-recover", "backup-extract")
ROWS = ("consistency-repair", "consistency-undo")
Moment = Literal["after", "within", "amid"]
Victim = Literal["run", "responder", "both", "server"]


@dataclass(frozen=True)
class Blow:
    """A kill: whom, and when. WITHIN a step: its effect is there, and nobody was told. AMID: a batch is uncommitted."""

    procedure: str
    number: int  #: of the step, from 0
    step: str
    moment: Moment
    victim: Victim

    def __str__(self) -> str:
        """Name it for a test's id."""
        return f"{self.procedure.removeprefix('postgres-')}-{self.number}-{self.moment}-{self.step}-{self.victim}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def module_of(procedure: str) -> ModuleType:
    """Import the module of a procedure."""
    return importlib.import_module(f"flows.{procedure.replace('-', '_')}")


def steps(procedure: str) -> list[str]:
    """Name, in their order, the tasks that the body of a flow calls, and the gate between them."""
    module = module_of(procedure)
    flow = getattr(module, procedure.replace("-", "_"))
    body = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(flow.fn)))).body[0]
    assert isinstance(body, ast.FunctionDef)
    called = [name for statement in body.body for name in _calls(statement)]
    return [name for name in called if _is_step(getattr(module, name, None))]


def _calls(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Lambda):  # it is called by the gate, if at all
        return
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield node.func.id


def _is_step(thing: object) -> bool:
    return isinstance(thing, Task) or thing is approve


def is_act(procedure: str, step: str) -> bool:
    """Whether a step changes something: it is a task that is never repeated."""
    thing = getattr(module_of(procedure), step)
    return isinstance(thing, Task) and thing.retries == ACT["retries"]


def blows(procedure: str, victim: Victim) -> list[Blow]:
    """Return every kill there is: after every step, and within every act."""
    found = []
    for number, step in enumerate(steps(procedure)):
        moments: tuple[Moment, ...] = ("within", "after") if is_act(procedure, step) else ("after",)
        found += [Blow(procedure, number, step, moment, victim) for moment in moments]
    return found
