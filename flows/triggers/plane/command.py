"""The commands behind `make up`, `make down` and `make status`."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from blocks.errors import SalvorError
from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import began, end

START_SECONDS = 300.0


@dataclass
class Trace:
    """What a control plane that runs, or ran, wrote down about itself."""

    root: Path
    facts: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read the file; a plane that never ran has left an empty trace."""
        try:
            return cls(root, json.loads((root / "plane.json").read_text()))
        except (OSError, ValueError):
            return cls(root, {})

    @property
    def supervisor(self) -> tuple[int, str]:
        """Its supervisor's pid and start."""
        pid, start = self.facts.get("supervisor", (0, ""))
        return pid, start

    @property
    def up(self) -> bool:
        """Whether its supervisor lives."""
        pid, start = self.supervisor
        return bool(pid) and began(pid) == start

    @property
    def ready(self) -> bool:
        """Whether everything has started."""
        return self.up and bool(self.facts.get("ready"))

    def end_leftovers(self) -> None:
        """End what a supervisor that was killed has left behind; a running recovery is not among it."""
        for pid, start, _ in reversed(self.facts.get("processes", {}).values()):
            end(pid, start, 10)


def up(chosen: argparse.Namespace) -> int:
    """Start the control plane in the background and say where it is."""
    trace = Trace.read(chosen.root)
    if trace.up:
        say(f"It is up already: {trace.facts['ui_url']}. Stop it with `make down`; start it anew with `make down up`.")
        return 0
    trace.end_leftovers()
    new_secret = not (chosen.root / "auth").exists()
    say("Starting Salvor, which takes about half a minute ...")
    launch(chosen)
    if not Trace.read(chosen.root).ready:
        say((chosen.root / "logs" / "plane.log").read_text().strip().rpartition("\n")[2])
        return 1
    facts = Trace.read(chosen.root).facts
    say(f"Salvor is up.\n  UI        {facts['ui_url']}\n  receiver  {facts['receiver_url']}")
    if new_secret:
        secret = (chosen.root / "auth").read_text().strip()
        say(f"  sign in   {secret}   (paste all of it; said once, kept in {chosen.root / 'auth'})")
    say(f"  logs      {chosen.root / 'logs'}\nStop it with `make down`; after a change of the code, `make down up`.")
    return 0


def launch(chosen: argparse.Namespace) -> None:
    """Start the supervisor in a session of its own; return when it is ready or has given up."""
    chosen.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (chosen.root / "logs").mkdir(exist_ok=True)
    ports = ["--port", str(chosen.port), "--receiver-port", str(chosen.receiver_port)]
    command = [sys.executable, "-m", "flows.triggers.plane", "run", "--root", str(chosen.root), *ports]
    with (chosen.root / "logs" / "plane.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        trace = Trace.read(chosen.root)
        if trace.ready:
            break
        time.sleep(0.1)


def run(chosen: argparse.Namespace) -> int:
    """Be the supervisor: SIGTERM ends it when the last run has ended, SIGINT at once."""
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: asked.put(signum))
    plane = Plane(chosen.root, port=chosen.port, receiver_port=chosen.receiver_port, say=say)
    last = signal.SIGINT
    try:
        plane.up()
        last = signal.Signals(asked.get())
    except SalvorError as error:
        say(str(error))
        return 1
    finally:
        plane.down(now=last == signal.SIGINT)
    return 0


def down(chosen: argparse.Namespace) -> int:
    """End the control plane; wait for a recovery that is running."""
    trace = Trace.read(chosen.root)
    if not trace.up:
        trace.end_leftovers()
        (chosen.root / "plane.json").unlink(missing_ok=True)
        say("It is down.")
        return 0
    pid, start = trace.supervisor
    os.kill(pid, signal.SIGINT if chosen.now else signal.SIGTERM)
    asked = time.monotonic()
    told = False
    while began(pid) == start:
        time.sleep(0.1)
        if not told and time.monotonic() - asked > 10:  # noqa: PLR2004  # longer than any process takes by itself
            told = True
            say(
                "A run has not ended yet and is waited for."
                " To end it too: .venv/bin/python -m flows.triggers.plane down --now"
            )
    say("It is down.")
    return 0


def status(chosen: argparse.Namespace) -> int:
    """Say what runs."""
    trace = Trace.read(chosen.root)
    if not trace.up:
        say("It is down. Start it with `make up`.")
        return 1
    say(f"UI {trace.facts['ui_url']}   receiver {trace.facts['receiver_url']}")
    for name, (pid, start, restarts) in trace.facts["processes"].items():
        state = f"pid {pid}" if pid and began(pid) == start else "not running"
        say(f"  {name:10} {state}{f', restarted {restarts} times' if restarts else ''}")
    return 0


def say(sentence: str) -> None:
    """Tell the person at the terminal."""
    print(sentence, flush=True)  # noqa: T201


def main() -> int:
    """Run one command."""
    commands = {"up": up, "down": down, "status": status, "run": run}
    parser = argparse.ArgumentParser(prog="python -m flows.triggers.plane", description=__doc__)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--root", type=lambda path: Path(path).resolve(), default=PROJECT / ".salvor")
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("SALVOR_PORT", "4200")), help="of the UI and API"
    )
    parser.add_argument("--receiver-port", type=int, default=int(os.environ.get("SALVOR_RECEIVER_PORT", "8090")))
    parser.add_argument("--now", action="store_true", help="with `down`: end a running recovery too")
    chosen = parser.parse_args()
    return commands[chosen.command](chosen)
