"""Something that writes on a host, killed before one of its steps, together with the process that ordered it."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from blocks.node_control import CommandControl

# Forked, because a fresh interpreter spends two seconds on imports.
FORK = multiprocessing.get_context("fork")
# The script as it is, in a bash that calls `step` before each of its commands. A kill before one that only looks or
# remembers is the kill before the next one.
STEPPED = """
step() {
  [[ $BASH_COMMAND =~ ^([A-Za-z_]+=|\\[|case |set |trap |export |eval ) ]] && return
  read -r left <"$SALVOR_LEFT"
  [ "$left" -gt 0 ] || kill -KILL "$SALVOR_PID" $$
  echo $((left - 1)) >"$SALVOR_LEFT"
}
trap step DEBUG
eval "$1"
"""
STEPPING = CommandControl(template=f"exec bash -c {shlex.quote(STEPPED)} stepped {{script}}")


def killed_at_each_step(order: Callable[[], object], counter: Path, ready: Callable[[], object]) -> Iterator[int]:
    """Call ORDER in a process that dies before step 0, 1, 2 ... of its scripts, until it gets to its end.

    READY is called before each; the scripts must run by STEPPING. After each death its number is given.
    """
    for number in count():
        ready()
        counter.write_text(f"{number}\n")
        if not dies(order, counter):
            return
        yield number


def dies(order: Callable[[], object], counter: Path) -> bool:
    """Call ORDER in a process of its own; whether that was killed before its end."""
    child = FORK.Process(target=_obey, args=(order, counter))
    child.start()
    child.join(30)
    assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
    return child.exitcode != 0


def _obey(order: Callable[[], object], counter: Path) -> None:
    os.environ |= {"SALVOR_LEFT": str(counter), "SALVOR_PID": str(os.getpid())}
    order()
