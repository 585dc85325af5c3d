"""The demo: a real primary dies, and the pipeline brings the service back. `make demo`, or `python -m tests.lab.demo`.

On a terminal everything stays up afterwards until Ctrl-C; without one, or with DEMO_EXIT=1, it is torn down at once.
The last line is one JSON object; the exit code is 0 when the service was recovered and no row lost or doubled.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
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


def main() -> int:
    """Run the demo and say how it went."""
    screen = Screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            lab, numbers = _perform(screen, stack)
            if screen.live and not os.environ.get("DEMO_EXIT"):
                _stay(screen, lab)
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


def _perform(screen: Screen, stack: ExitStack) -> tuple[Lab, dict[str, Any]]:
    """Set up, kill the primary, and tell what happens."""
    screen.line(screen.paint("Salvor demo: a real primary dies, and the pipeline brings the service back.", "1"))
    screen.title("Setting up a patient and a control plane; this takes about half a minute")
    lab, plane = _both(screen, stack)
    # Only now: Prefect reads its settings, those of this plane, when it is imported.
    from tests.lab import chronicle, story  # noqa: PLC0415

    app = stack.enter_context(App(lab))
    record = chronicle.Chronicle(plane, TARGET)
    for name, block in lab.blocks(activity=True):
        if name != "ledger":
            block.save(name, overwrite=True)
    _await_calm(screen, app, record)
    victim = lab.primary()
    screen.title(f"SIGKILL to every process of {victim}, the primary's node")
    told = story.Story(record, app, screen, killed_at=time.time())
    lab.kill_node(victim)
    run = told.tell()
    time.sleep(STEADY_SECONDS)
    app.stop()
    numbers = story.figures(told, run, app.summary(), plane.ui_url)
    story.report(screen, run, numbers)
    return lab, numbers


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


def _stay(screen: Screen, lab: Lab) -> None:
    screen.title("Everything stays up until Ctrl-C")
    screen.line(
        "  Open the run above, and look at its report under Artifacts.\n"
        f"  Let the old primary come back: run postgres-rejoin in the UI, with target `{TARGET}`.\n"
        "  Break something else: .venv/bin/python -m tests.lab status, then .venv/bin/python -m tests.lab break ..."
    )
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


if __name__ == "__main__":
    sys.exit(main())
