"""The demo: a real primary dies, and the pipeline brings the service back. `python -m tests.lab.demo`, or `make demo`.

On a terminal everything stays up afterwards until Ctrl-C; without one, or with DEMO_EXIT=1, it is torn down at once.
The last line is one JSON object; the exit code is 0 when the outcome is Recovered.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flows.triggers.plane import Plane
from flows.triggers.plane_command import Trace
from tests.lab.account import CHECKOUT, place
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.screen import Screen

TARGET = "orders"
HOME = CHECKOUT / ".salvor"
FOLDER = HOME / "demo"
#: Long enough to see a steady rate before, and that it is steady again after.
STEADY_SECONDS = 2.0


def main() -> int:
    """Run the demo and say how it went."""
    screen = Screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if Trace.read(FOLDER).up:
        screen.line("A demo is already running; end it first (Ctrl-C in its terminal).")
        return 1
    try:
        with ExitStack() as stack:
            numbers = _perform(screen, stack)
            if screen.live and not os.environ.get("DEMO_EXIT"):
                _stay(screen)
            screen.line("\nTearing everything down ...")
            _keep_logs(numbers)
    except KeyboardInterrupt:
        screen.line("\nStopped; everything is torn down.")
        return 130
    print(json.dumps(numbers), flush=True)
    return 0 if numbers["outcome"] == "Recovered" else 1


def _perform(screen: Screen, stack: ExitStack) -> dict[str, Any]:
    screen.line(screen.paint("Salvor demo: a real primary dies, and the pipeline brings the service back.", "1"))
    screen.title("Setting up")
    lab, plane = _both(screen, stack)
    from tests.lab import story  # noqa: PLC0415 - Prefect reads its settings when it is imported

    chronicle = story.Chronicle(plane, TARGET)
    _introduce(lab, chronicle)
    screen.note(f"The control plane is up. UI: {plane.ui_url}   sign in: {plane.auth}")
    app = stack.enter_context(App(lab))
    _await_calm(screen, app, chronicle)
    victim = lab.primary()
    screen.title(f"SIGKILL to every process of {victim}, the primary's node")
    told = story.Story(chronicle, app, screen, killed_at=time.time())
    lab.kill_node(victim)
    run = told.tell()
    time.sleep(STEADY_SECONDS)
    app.stop()
    numbers = story.figures(told, run, app.summary(), plane.ui_url)
    story.report(screen, run, numbers)
    return numbers


def _both(screen: Screen, stack: ExitStack) -> tuple[Lab, Plane]:
    """Bring the patient and the control plane up side by side."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    plane = Plane(FOLDER, say=screen.status)
    # Before Prefect is imported here: its client must speak to this plane, and make no home folder elsewhere.
    os.environ.update({name: value for name, value in plane.env.items() if os.environ.get(name) != value})
    stack.callback(shutil.rmtree, FOLDER / "prefect", ignore_errors=True)
    with ThreadPoolExecutor(1) as pool:
        lab = Lab(place(HOME))
        coming = pool.submit(lab.up)
        stack.enter_context(_pointed(lab))
        stack.callback(lab.down)
        stack.enter_context(plane)
        coming.result()
    screen.clear()
    route = "PgBouncer" if lab.pooler else "libpq multi-host (PgBouncer is not installed, so clients route themselves)"
    screen.note(
        f"The patient is up: PostgreSQL 18 as user `{lab.account.name}`, {lab.primary()} with standbys"
        f" {', '.join(lab.standbys())} (one must confirm every commit); clients go through {route}."
    )
    return lab, plane


@contextmanager
def _pointed(lab: Lab) -> Iterator[None]:
    """Let `python -m tests.lab break ...` find this lab while it is up."""
    from tests.lab.__main__ import POINTER  # noqa: PLC0415

    POINTER.write_text(str(lab.root))
    try:
        yield
    finally:
        POINTER.unlink(missing_ok=True)


def _introduce(lab: Lab, chronicle: Any) -> None:
    """Save the blocks of the patient; the ledger's the plane has made itself."""
    for name, block in lab.blocks():
        if name != "ledger":
            block.save(name, overwrite=True)
    _ = chronicle


def _await_calm(screen: Screen, app: App, chronicle: Any) -> None:
    """Wait until the sentinel watches and orders flow."""
    deadline = time.monotonic() + 60
    while not chronicle.watched():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The sentinel does not watch; {FOLDER / 'logs' / 'sentinel.log'} says why.")
        screen.status("Waiting for the sentinel to watch ...")
        time.sleep(0.1)
    screen.clear()
    app.await_writes(20)
    time.sleep(STEADY_SECONDS)
    rate = app.acknowledged_after(app.now() - 1)
    screen.note(f"The sentinel watches, and the shop writes: {rate} orders a second are acknowledged.")


def _stay(screen: Screen) -> None:
    screen.line(
        "\nEverything stays up until Ctrl-C. Open the run above; or let the old primary come back:\n"
        "  in the UI, run postgres-rejoin with target `orders`; in another terminal, `python -m tests.lab status`."
    )
    done = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: done.set())
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    done.wait()


def _keep_logs(numbers: dict[str, Any]) -> None:
    (FOLDER / "result.json").write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    sys.exit(main())
