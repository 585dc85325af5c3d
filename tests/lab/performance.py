"""What every demo does around its scene: patient and control plane come up, and nothing of them stays.

On a terminal everything stays up afterwards until Ctrl-C; without one, or with DEMO_EXIT=1, it is torn down at once.
The last line is one JSON object; the exit code is 0 when the service was recovered and no row lost or doubled.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.errors import SalvorError
from flows.triggers.plane.command import Trace
from flows.triggers.plane.plane import Plane
from tests.lab.account import place
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.pointer import HOME, pointing
from tests.lab.processes import wait_until
from tests.lab.screen import Screen

if TYPE_CHECKING:
    from tests.lab.chronicle import Chronicle

TARGET = "orders"
PREFIX = "demo-of-"
LOGS = HOME / "demo-logs"
#: Long enough to see a steady rate before, and that it is steady again after.
STEADY_SECONDS = 2.0
INTERRUPTED = 130
Scene = Callable[[Screen, ExitStack], tuple[Lab, dict[str, Any]]]


def performed(scene: Scene, what_now: str) -> int:
    """Perform SCENE and say how it went; WHAT_NOW is what a person can do while everything stays up."""
    screen = Screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            lab, numbers = scene(screen, stack)
            if screen.live and not os.environ.get("DEMO_EXIT"):
                _stay(screen, lab, what_now)
            screen.line("\nTearing everything down ...")
    except KeyboardInterrupt:
        screen.clear()
        screen.line("\nStopped, and torn down.")
        return INTERRUPTED
    except (SalvorError, RuntimeError, OSError, LookupError) as error:
        screen.clear()
        numbers = {"outcome": None, "error": str(error)}
        screen.line(f"\nThe demo could not be performed: {error}")
    return _conclude(screen, numbers)


def _conclude(screen: Screen, numbers: dict[str, Any]) -> int:
    """Print the last line, and say by the exit code whether all is well."""
    good = numbers["outcome"] == "Recovered" and not numbers["lost_rows"] and not numbers["duplicated_rows"]
    if good:
        shutil.rmtree(LOGS, ignore_errors=True)
    else:
        screen.line(f"What every process said is kept in {LOGS}.")
    print(json.dumps(numbers), flush=True)
    return 0 if good else 1


def set_up(screen: Screen, stack: ExitStack, title: str) -> tuple[Lab, Plane, App, Chronicle]:
    """Bring everything up, and let the shop write."""
    screen.line(screen.paint(title, "1"))
    screen.title("Setting up a patient and a control plane; this takes about half a minute")
    lab, plane = _both(screen, stack)
    # Only now: Prefect reads its settings, those of this plane, when it is imported.
    from tests.lab.chronicle import Chronicle  # noqa: PLC0415

    app = stack.enter_context(App(lab))
    record = Chronicle(plane, TARGET)
    for name, block in lab.blocks(activity=True):
        if name != "ledger":
            block.save(name, overwrite=True)
    _await_calm(screen, app, record)
    return lab, plane, app, record


def _both(screen: Screen, stack: ExitStack) -> tuple[Lab, Plane]:
    """Bring patient and control plane up side by side; the stack ends both and removes their files."""
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=HOME))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    plane = Plane(folder, say=screen.status)
    os.environ.update(plane.env)
    lab = Lab(place(HOME))
    stack.callback(lab.down)
    stack.callback(_keep_logs, lab, plane)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(_patient, lab, screen)
        stack.enter_context(plane)
        coming.result()
    stack.enter_context(pointing(lab.root))
    screen.clear()
    screen.note(f"The control plane is up. UI: {plane.ui_url}   sign in with: {plane.auth}")
    return lab, plane


def _patient(lab: Lab, screen: Screen) -> None:
    lab.up()
    route = "through PgBouncer" if lab.pooler else "by libpq multi-host (PgBouncer is not installed)"
    screen.note(
        f"The patient is up: PostgreSQL 18 as user `{lab.account.name}`, {lab.primary()} with the standbys"
        f" {' and '.join(lab.standbys())}, one of which must confirm each commit. Clients come {route}."
    )


def _await_calm(screen: Screen, app: App, record: Chronicle) -> None:
    """Wait until the sentinel watches and orders flow."""
    screen.status("Waiting for the sentinel to watch ...")
    wait_until(record.watched, 60, "the sentinel to watch", 0.1)
    screen.clear()
    app.await_writes(20)
    time.sleep(STEADY_SECONDS)
    rate = app.acknowledged_after(app.now() - 1)
    screen.note(f"The sentinel watches, and the shop writes: {rate} orders a second are acknowledged.")


def _stay(screen: Screen, lab: Lab, what_now: str) -> None:
    screen.title("Everything stays up until Ctrl-C")
    screen.line(what_now)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with App(lab) as app:
        while not done.wait(1):
            rate = app.acknowledged_after(app.now() - 1)
            screen.status(f"{rate} orders a second; primary: {', '.join(lab.primaries()) or 'none'}")
    screen.clear()


def _remove_leftovers() -> None:
    """End and remove what a demo that was SIGKILLed has left; its lab has removed itself."""
    HOME.mkdir(exist_ok=True)
    for folder in HOME.glob(f"{PREFIX}*"):
        trace = Trace.read(folder)
        if trace.facts and not trace.up:
            trace.end_leftovers()
            shutil.rmtree(folder, ignore_errors=True)


def _keep_logs(lab: Lab, plane: Plane) -> None:
    """Keep what was said until it is known that nobody needs it."""
    shutil.rmtree(LOGS, ignore_errors=True)
    shutil.copytree(plane.logs, LOGS)
    for log in lab.root.glob("*/log"):
        shutil.copy(log, LOGS / f"{log.parent.name}.log")
