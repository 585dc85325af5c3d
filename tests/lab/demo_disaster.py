"""The demo of a disaster: every server is killed, every data directory is gone, and the service comes back.

`make demo-disaster`, or `python -m tests.lab.demo_disaster`. Commits wait for the archive as well, so that what was
acknowledged is in it whatever is destroyed. See performance.py for how it ends.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.lab import schema
from tests.lab.cluster import Lab
from tests.lab.disaster import kept_sets, strike
from tests.lab.performance import STEADY_SECONDS, TARGET, performed, set_up
from tests.lab.processes import wait_until
from tests.lab.screen import Screen

if TYPE_CHECKING:
    from blocks.ledger.records import Run
    from tests.lab.chronicle import Chronicle
    from tests.lab.story import Story
    from tests.lab.tally import Tally

PROCEDURE, BACKUP = "disaster-recover", "backup-take"
ACTS = 11
BACKUP_SECONDS = 120
WHAT_NOW = (
    "  Open the run above, and look at its report under Artifacts.\n"
    f"  Make the standbys anew: run postgres-rejoin in the UI, with target `{TARGET}`, for n2 and for n3.\n"
    f"  Practise: run backup-drill with target `{TARGET}`; it restores what was kept now, beside all this.\n"
    "  Lose everything again: make lab-break-disaster, then run disaster-recover."
)
TIMES = {
    "rto_writable_seconds": "the longest time in which no order was acknowledged",
    "rto_verified_seconds": "from the kill until rows, indexes and routes were compared",
    "rto_protected_seconds": "from the kill until the new database had a backup of its own",
    "rpo_seconds": "how much acknowledged work is gone",
}


def main() -> int:
    """Run the demo and say how it went."""
    return performed(_perform, WHAT_NOW)


def _perform(screen: Screen, stack: ExitStack) -> tuple[Lab, dict[str, Any]]:
    """Set up, keep a backup, lose everything else, press the button, and tell what happens."""
    title = "Salvor demo: all servers and their data are lost, and the service comes back from its backup."
    lab, plane, app, record = set_up(screen, stack, title)
    from tests.lab import story  # noqa: PLC0415 - Prefect has its settings now

    _keep(screen, lab, record)
    app.await_writes(20)
    time.sleep(STEADY_SECONDS)
    screen.note(f"The shop goes on: {app.acknowledged_after(0)} orders are acknowledged by now.")
    screen.title("SIGKILL to every process of every server; then their data directories are removed")
    told = story.Story(record, app, screen, time.time(), PROCEDURE, turning="admit", acts=ACTS)
    for sentence in strike(lab):
        screen.note(sentence)
    record.press_run(PROCEDURE, requested_by="demo", reason="every server is lost")
    run = told.tell()
    time.sleep(STEADY_SECONDS)
    app.stop()
    numbers = figures(told, run, app.summary(), plane.ui_url)
    report(screen, run, numbers)
    return lab, numbers


def _keep(screen: Screen, lab: Lab, record: Chronicle) -> None:
    """Take a backup by its deployment, and let commits wait for the archive from then on."""
    screen.title("A backup is taken, and from then on no commit is acknowledged before the archive has it")
    record.press_run(BACKUP, requested_by="demo", reason="the first backup")
    wait_until(lambda: (run := record.run(BACKUP)) and run.ended_at, BACKUP_SECONDS, "the backup to be taken", 0.1)
    run = record.run(BACKUP)
    if run is None or run.outcome != "Recovered":
        raise RuntimeError(f"The backup ended {run and run.outcome}: {run and run.why}")
    primary = lab.nodes[lab.primary()]
    schema.demand_archive(primary, [name for name in lab.nodes if name != primary.name])
    wait_until(lambda: primary.psql(schema.ARCHIVE_CONFIRMS), 30, "the archive to confirm commits")
    screen.note(f"{kept_sets(lab)[-1]} is kept and verified, and WAL streams beside it.")


def figures(story: Story, run: Run | None, account: Tally, ui_url: str) -> dict[str, Any]:
    """Give the numbers of the account: what the shop saw, and of the rest what the run measured itself."""
    measured = (run.report or {}).get("figures", {}) if run else {}
    late = run.started_at.timestamp() - story.killed_at if run else 0.0
    since_kill = {
        name: round(measured[name] + late, 3) if name in measured else None
        for name in ("rto_verified_seconds", "rto_protected_seconds")
    }
    return {
        "outcome": run.outcome if run else None,
        "rto_writable_seconds": round(account.outage_seconds, 3),
        **since_kill,
        "rpo_seconds": round(account.lost_seconds, 3),
        "lost_rows": account.lost,
        "duplicated_rows": account.duplicated,
        "acknowledged_rows": account.acknowledged,
        "retried_errors": account.errors,
        "run_url": f"{ui_url}/v2/runs/flow-run/{run.flow_run_id}" if run else "",
    }


def report(screen: Screen, run: Run | None, numbers: dict[str, Any]) -> None:
    """Print the account."""
    from tests.lab.story import screen_outcome, screen_proof, screen_rows, seconds  # noqa: PLC0415 - as above

    screen.title("Report")
    screen_outcome(screen, run, numbers)
    for name, meaning in TIMES.items():
        words = name.removesuffix("_seconds").replace("rto_", "RTO ").replace("rpo", "RPO")
        screen.row(words, seconds(numbers[name]), meaning)
    screen_rows(screen, numbers)
    screen_proof(screen, run, numbers)


if __name__ == "__main__":
    sys.exit(main())
