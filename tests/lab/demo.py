"""The demo: a real primary dies, and the pipeline brings the service back. `make demo`, or `python -m tests.lab.demo`.

See performance.py for how it ends.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

from tests.lab.cluster import Lab
from tests.lab.performance import STEADY_SECONDS, TARGET, performed, set_up
from tests.lab.screen import Screen

WHAT_NOW = (
    "  Open the run above, and look at its report under Artifacts.\n"
    f"  Let the old primary come back: run postgres-rejoin in the UI, with target `{TARGET}`.\n"
    "  Break something else: .venv/bin/python -m tests.lab status, then .venv/bin/python -m tests.lab break ..."
)


def main() -> int:
    """Run the demo and say how it went."""
    return performed(_perform, WHAT_NOW)


def _perform(screen: Screen, stack: ExitStack) -> tuple[Lab, dict[str, Any]]:
    """Set up, kill the primary, and tell what happens."""
    title = "Salvor demo: a real primary dies, and the pipeline brings the service back."
    lab, plane, app, record = set_up(screen, stack, title)
    from tests.lab import story  # noqa: PLC0415 - Prefect has its settings now

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


if __name__ == "__main__":
    sys.exit(main())
