"""The recovery as it happens, and the account of it: what the control plane says, and what the shop saw."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from blocks.ledger.records import Run, StepRecord
from tests.lab.app import App
from tests.lab.chronicle import Chronicle
from tests.lab.screen import Screen
from tests.lab.tally import Tally

PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.05
GOOD, BAD = "1;32", "1;31"


@dataclass
class Story:
    """Tells each thing once, when it is seen for the first time."""

    chronicle: Chronicle
    app: App
    screen: Screen
    killed_at: float
    procedure: str = ""  #: whose run is told
    turning: str = "promote"  #: the act from which on orders can be acknowledged again
    acts: int = 5  #: only for the bar at the bottom of the terminal
    told: set[str] = field(default_factory=set)

    def tell(self) -> Run | None:
        """Tell the recovery until its run has ended; None when none began in time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        run = None
        while time.monotonic() < deadline and not (run and run.ended_at and "writes" in self.told):
            run = self._look()
            time.sleep(LOOK_SECONDS)
        self.screen.clear()
        return run

    def _look(self) -> Run | None:
        if alarm := self.chronicle.alarm():
            self._once("alarm", alarm[0], f"The sentinel tells: {alarm[1]}")
        run = self.chronicle.run(self.procedure)
        acts: list[StepRecord] = []
        if run:
            self._once("run", run.started_at, f"{run.procedure} begins, as run {run.flow_run_id}.")
            acts = self.chronicle.steps(run)
            for act in acts:
                if act.ended_at:
                    seconds = (act.ended_at - act.started_at).total_seconds()
                    self._once(act.id, act.started_at, f"{act.sentence}  → {act.error or act.found} ({seconds:.2f} s)")
        turned = next((act.started_at.timestamp() for act in acts if act.name == self.turning), None)
        if turned and (back := next((ack[0] for ack in self.app.journal().acks if ack[0] > turned), None)):
            self._once("writes", back, "An order is acknowledged again.")
        if run and run.ended_at:
            self._once("end", run.ended_at, f"{run.outcome}: {run.why}")
        self._status(run, acts)
        return run

    def _status(self, run: Run | None, acts: list[StepRecord]) -> None:
        done = 10 * ("alarm" in self.told) + 10 * bool(run) + 75 * sum(bool(a.ended_at) for a in acts) / self.acts
        now = next((act.sentence for act in acts if not act.ended_at), "")
        waiting = time.time() - self.killed_at
        orders = "orders flow" if "writes" in self.told else f"no order acknowledged for {waiting:.1f} s"
        self.screen.status(f"{orders}   {now}", min(done, 100))

    def _once(self, key: str, at: datetime | float, text: str) -> None:
        if key not in self.told:
            self.told.add(key)
            moment = at.timestamp() if isinstance(at, datetime) else at
            self.screen.moment(moment - self.killed_at, text)


def figures(story: Story, run: Run | None, account: Tally, ui_url: str) -> dict[str, Any]:
    """Give the numbers of the account, measured by the shop and by the control plane's own records."""
    numbers: dict[str, Any] = {
        "outcome": run.outcome if run else None,
        "rto_seconds": round(account.outage_seconds, 3),
        "rpo_seconds": round(account.lost_seconds, 3),
        "lost_rows": account.lost,
        "duplicated_rows": account.duplicated,
        "acknowledged_rows": account.acknowledged,
        "retried_errors": account.errors,
        "detection_seconds": None,
        "event_to_first_task_seconds": None,
        "run_url": f"{ui_url}/v2/runs/flow-run/{run.flow_run_id}" if run else "",
    }
    if alarm := story.chronicle.alarm():
        numbers["detection_seconds"] = round(alarm[0].timestamp() - story.killed_at, 3)
        first = _first_task(story, run) if run else None
        numbers["event_to_first_task_seconds"] = round((first - alarm[0]).total_seconds(), 3) if first else None
    return numbers


def _first_task(story: Story, run: Run) -> datetime | None:
    try:
        return story.chronicle.first_task_ended(run)
    except httpx.HTTPError as error:
        story.screen.line(f"Prefect did not answer about its own times: {error}")
        return None


def report(screen: Screen, run: Run | None, numbers: dict[str, Any]) -> None:
    """Print the account."""
    screen.title("Report")
    screen_outcome(screen, run, numbers)
    screen.row("RTO", seconds(numbers["rto_seconds"]), "the longest time in which no order was acknowledged")
    screen.row("RPO", seconds(numbers["rpo_seconds"]), "how much acknowledged work is gone")
    screen_rows(screen, numbers)
    screen.row("detected", seconds(numbers["detection_seconds"]), "after the kill")
    screen.row("first task", seconds(numbers["event_to_first_task_seconds"]), "from the event to the first task done")
    screen_proof(screen, run, numbers)


def screen_outcome(screen: Screen, run: Run | None, numbers: dict[str, Any]) -> None:
    """Print how it ended."""
    colour = GOOD if numbers["outcome"] == "Recovered" else BAD
    why = run.why or "The run has not ended." if run else "No run began."
    screen.row("outcome", numbers["outcome"] or "none", why, colour)


def screen_rows(screen: Screen, numbers: dict[str, Any]) -> None:
    """Print what became of the shop's rows."""
    screen.row("rows lost", str(numbers["lost_rows"]), f"of {numbers['acknowledged_rows']} acknowledged orders")
    retried = f"charges made twice; {numbers['retried_errors']} errors were retried"
    screen.row("rows doubled", str(numbers["duplicated_rows"]), retried)


def screen_proof(screen: Screen, run: Run | None, numbers: dict[str, Any]) -> None:
    """Print the evidence, and where the run is."""
    for claim in (run.report or {}).get("evidence", []) if run else []:
        mark, tint = ("holds", GOOD) if claim["holds"] else ("DOES NOT HOLD", BAD)
        screen.row("evidence", mark, f"{claim['claim']}   ({claim['seen']})", tint)
    screen.row("run", numbers["run_url"] or "none")


def seconds(number: float | None) -> str:
    """Put a duration in words."""
    return "unknown" if number is None else f"{number:.2f} s"
