"""How long clients cannot write: a dead node, a frozen host, and a planned handover, each with its floor."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from blocks.ledger import steps
from blocks.ledger.records import Run
from tests.drills.ward import Ward
from tests.lab.app import App
from tests.lab.bench_alert import STOCK_SECONDS
from tests.lab.bench_floor import Bare
from tests.lab.bench_stage import FAILOVER, Stage, outcome, recovered
from tests.lab.bench_table import Line
from tests.lab.cluster import Lab
from tests.lab.tally import Tally

#: Until a sentinel that has just started, and the application, are steady.
STEADY_SECONDS = 2.0
#: The sentinel looks every half second: a fault must come at any moment of it.
PHASE_SECONDS = 0.5
#: How long a frozen host is thawed and watched after the failover.
THAWED_SECONDS = 3.0


@dataclass
class Sample:
    """What one fault did to the application."""

    tally: Tally
    zombie_acks: int = 0
    phases: dict[str, float] = field(default_factory=dict)


def kill(stage: Stage, runs: int) -> Line:
    """SIGKILL every process of the primary's node; its host answers, and refuses connections."""
    line = Line("write_outage_kill", "write outage, primary's node killed", 1.6)
    with stage.lab() as lab:
        for _ in range(runs):
            take(line, failed_over(stage, lab))
        for _ in range(runs):
            line.floor.append(by_script(stage, lab).tally.outage_seconds)
        with stage.stock():
            for _ in range(runs):
                time.sleep(random.uniform(0, STOCK_SECONDS))
                line.stock.append(failed_over(stage, lab).tally.outage_seconds)
    return line


def freeze(stage: Stage, runs: int) -> Line:
    """SIGSTOP the primary's whole host, fail over, and let it go on: a zombie that believes it is primary."""
    line = Line("write_outage_freeze", "write outage, primary's host frozen, then thawed", 3.0)
    line.must_be_zero["zombie_acknowledged"] = 0
    with stage.lab() as lab:
        for _ in range(runs):
            take(line, failed_over(stage, lab, frozen=True))
        for _ in range(runs):
            line.floor.append(by_script(stage, lab, frozen=True).tally.outage_seconds)
    return line


def switchover(stage: Stage, runs: int) -> Line:
    """Hand over on purpose."""
    line = Line("write_outage_switchover", "write outage, planned switchover", 0.35)
    line.must_be_zero["switchover_errors"] = 0
    with stage.lab() as lab:
        for _ in range(runs):
            sample = handed_over(stage, lab)
            take(line, sample)
            line.must_be_zero["switchover_errors"] += sample.tally.errors
        for _ in range(runs):
            line.floor.append(by_script(stage, lab, planned=True).tally.outage_seconds)
    return line


def take(line: Line, sample: Sample) -> None:
    """Enter one run of ours."""
    line.ours.append(sample.tally.outage_seconds)
    line.lost = (line.lost or 0) + sample.tally.lost + sample.tally.duplicated
    line.errors = (line.errors or 0) + sample.tally.errors
    if "zombie_acknowledged" in line.must_be_zero:
        line.must_be_zero["zombie_acknowledged"] += sample.zombie_acks
    line.phases.append(sample.phases)
    line.loads.append(os.getloadavg()[0])


def failed_over(stage: Stage, lab: Lab, *, frozen: bool = False) -> Sample:
    """Let the sentinel notice the fault, Prefect start the run, and the run fail over; then mend the cluster."""
    ward = stage.ward(lab, watched=True)
    with ward.sentinel():
        return struck(stage, lab, ward, lambda: outcome(ward), frozen=frozen)


def by_script(stage: Stage, lab: Lab, *, frozen: bool = False, planned: bool = False) -> Sample:
    """Let the bare script do it; then mend the cluster."""
    with Bare(lab) as bare:

        def wait() -> None:
            bare.switchover() if planned else bare.failover(frozen=frozen)

        return struck(stage, lab, None, wait, frozen=frozen, planned=planned)


def handed_over(stage: Stage, lab: Lab) -> Sample:
    """Start a switchover as a person does."""
    ward = stage.ward(lab)
    return struck(stage, lab, ward, lambda: recovered(ward.run("postgres-switchover")), planned=True)


def struck(  # noqa: PLR0913 - a fault, who mends it, and how
    stage: Stage,
    lab: Lab,
    ward: Ward | None,
    wait: Callable[[], Run | None],
    *,
    frozen: bool = False,
    planned: bool = False,
) -> Sample:
    """Let the application write, break the primary, WAIT for the service to come back, and count."""
    old, zombie_acks = lab.primary(), 0
    with ExitStack() as apps:
        app = apps.enter_context(App(lab))
        zombie = apps.enter_context(App(lab, writers=2, pinned=old, patience_seconds=60)) if frozen else None
        app.await_writes(100)
        time.sleep(STEADY_SECONDS + random.uniform(0, PHASE_SECONDS))
        began = time.time()
        if not planned:
            (lab.freeze if frozen else lab.kill_node)(old)
        run = wait()
        app.await_writes(50)
        if zombie:
            thawed = app.now()
            lab.thaw(old)
            time.sleep(THAWED_SECONDS)
            # What was under way at the fault and has reached a standby may be acknowledged late; nothing new may.
            new = [at for at, _, _, took in zombie.journal().acks if at - took > thawed]
            zombie_acks = len(new) + zombie.summary().lost
    tally = app.summary()
    phases = timeline(ward, run, began, tally) if ward and run else {}
    if not (planned and ward):  # our own switchover leaves nothing to mend
        stage.rejoin(lab)
    return Sample(tally, zombie_acks, phases)


def timeline(ward: Ward, run: Run, began: float, tally: Tally | None = None) -> dict[str, float]:
    """Say how many seconds after the fault each thing happened; steps by their ends."""
    done = steps.timeline(ward.ledger, run.id)
    moments = {"run began": run.started_at.timestamp(), "first act": done[0].started_at.timestamp()}
    moments |= {step.name: step.ended_at.timestamp() for step in done if step.ended_at}
    if run.procedure == FAILOVER:
        flow_run = ward.http.get(f"/flow_runs/{run.flow_run_id}").raise_for_status().json()
        moments["run created"] = datetime.fromisoformat(flow_run["created"]).timestamp()
    if tally:
        moments |= {"last ack": tally.outage_began, "first ack": tally.outage_ended}
    if run.ended_at:
        moments["run ended"] = run.ended_at.timestamp()
    return {name: round(at - began, 4) for name, at in sorted(moments.items(), key=lambda pair: pair[1])}
