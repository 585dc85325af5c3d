"""What became of the procedures that bring in what happened outside the database. Pure."""

from __future__ import annotations

from tasks.backups.state import Brought
from tasks.model import Evidence


def judge_brought(runs: tuple[Brought, ...]) -> tuple[Evidence, ...]:
    """Judge each run that has ended, or was never begun."""
    return tuple(
        Evidence(
            claim=f"{run.procedure} of {run.account} has brought in what Stripe knows.",
            seen=f"its run {run.run_id} ended {run.state}" if run.run_id else "it was not started: see the timeline",
            holds=run.succeeded,
        )
        for run in runs
        if run.state or not run.run_id
    )


def unlooked_outside(runs: tuple[Brought, ...]) -> tuple[str, ...]:
    """Say which of them still run; or that none was started."""
    if not runs:
        return ("What happened outside the database since: run stripe-replay and stripe-resync.",)
    open_runs = [run for run in runs if run.run_id and not run.state]
    return tuple(f"What {run.procedure} of {run.account} finds: its run {run.run_id} goes on." for run in open_runs)
