"""Preloaded by the responder of a kill drill: a run of it kills itself, its responder, or both, where it is told to.

The orders for a target are a file, a list of blows: every run takes the first one as its own.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tasks.consistency.batches
import tasks.consistency.undo_act
import tasks.effects
from tasks.guard import current
from tests.drills.program import BACKUPS, PROCEDURES, ROWS, Blow, module_of, steps

FOLDER = "SALVOR_SABOTAGE"  #: environment variable: where the orders are


def orders(folder: Path, target: str) -> Path:
    """Name the file with the orders for a target."""
    return folder / f"{target}.orders"


def give(folder: Path, target: str, *blows: Blow) -> None:
    """Order the blow of the next run of a target, of the one after it, and so on."""
    temporary = folder / f"{target}.new"
    temporary.write_text(json.dumps([blow.as_dict() for blow in blows]))
    temporary.replace(orders(folder, target))


def struck(folder: Path, target: str) -> list[str]:
    """List the blows that have fallen."""
    with suppress(FileNotFoundError):
        return (folder / f"{target}.struck").read_text().splitlines()
    return []


class Saboteur:
    """What one run does to itself; every child that is forked has its own."""

    def __init__(self, folder: Path) -> None:
        """Find the orders in FOLDER."""
        self.folder = folder
        self.passed = 0  #: how many steps of the flow are done
        self._blow: list[Blow] | None = None

    def watch(self, procedure: str) -> None:
        """Let every step of a flow pass by here."""
        module = module_of(procedure)
        for name in dict.fromkeys(steps(procedure)):
            setattr(module, name, self._counted(getattr(module, name)))

    def within(self, ended: Callable[..., None]) -> Callable[..., None]:
        """Come between the effect of an act and its entry in the ledger."""

        def interrupted(*args: Any, **kwargs: Any) -> None:
            self._strike("within")
            ended(*args, **kwargs)

        return interrupted

    def amid(self, changed: Callable[..., Any]) -> Callable[..., Any]:
        """Come between the change of a batch's rows and its commit."""

        def interrupted(*args: Any, **kwargs: Any) -> Any:
            found = changed(*args, **kwargs)
            self._strike("amid")
            return found

        return interrupted

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = step(*args, **kwargs)
            self._strike("after")
            self.passed += 1
            return found

        return call

    def _strike(self, moment: str) -> None:
        for blow in self._mine():
            if (blow.procedure, blow.number, blow.moment) == (current().run.procedure, self.passed, moment):
                self._blow = []  # a step may have many batches, and whoever is dead has another parent now
                self._execute(blow)

    def _mine(self) -> list[Blow]:
        if self._blow is None:
            target, self._blow = current().run.target, []
            with suppress(FileNotFoundError):
                first, *rest = [Blow(**each) for each in json.loads(orders(self.folder, target).read_text())] or [None]
                give(self.folder, target, *rest)
                self._blow = [first] if first else []
        return self._blow

    def _execute(self, blow: Blow) -> None:
        with (self.folder / f"{current().run.target}.struck").open("a") as book:
            book.write(f"{blow}\n")
        for pid in self._victims(blow):
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                time.sleep(0.001)
        if blow.victim in ("run", "both"):
            os.kill(os.getpid(), signal.SIGKILL)

    def _victims(self, blow: Blow) -> list[int]:
        """Return who dies beside this process."""
        fork_server = os.getppid()
        if blow.victim == "server":
            return [int((self.folder / "server").read_text())]
        return {"run": [], "responder": [parent(fork_server)], "both": [parent(fork_server), fork_server]}[blow.victim]


def parent(pid: int) -> int:
    """Return who started PID."""
    return int(_stat(pid)[1])


def alive(pid: int) -> bool:
    """Whether PID runs; who is dead and not yet buried does not."""
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


if FOLDER in os.environ:  # in the responder's fork server, and nowhere else
    _saboteur = Saboteur(Path(os.environ[FOLDER]))
    for _procedure in PROCEDURES + ROWS + BACKUPS:
        _saboteur.watch(_procedure)
    tasks.consistency.batches.change = _saboteur.amid(tasks.consistency.batches.change)
    tasks.consistency.undo_act.give_back = _saboteur.amid(tasks.consistency.undo_act.give_back)
    tasks.effects._ended = _saboteur.within(tasks.effects._ended)  # noqa: SLF001
