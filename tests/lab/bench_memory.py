"""What the responder costs while nothing happens: worker, fork server and spare child together."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flows.triggers.plane.supervisor import descendants
from tests.lab.bench_stage import Stage
from tests.lab.bench_table import Line

#: Until the spare child is warm and nobody has work left over from the start.
SETTLE_SECONDS = 5.0
PROCESSES = 3


def memory(stage: Stage, runs: int) -> Line:
    """Measure the memory that the responder's processes take, each shared page counted once (PSS)."""
    line = Line("responder_memory", "responder idle, PSS of worker + fork server + spare", 250, "MB")
    pid = stage.plane.processes["responder"].pid
    deadline = time.monotonic() + 60
    while len(descendants(pid)) < PROCESSES - 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(SETTLE_SECONDS)
    for _ in range(runs):
        pids = [pid, *descendants(pid)]
        line.ours.append(sum(_megabytes(each, "Pss") for each in pids))
        line.phases.append({"RSS of each, shared pages counted each time:": 0.0})
        line.phases[-1] = {
            f"{name} {kind}": _megabytes(each, kind)
            for name, each in zip(("worker", "fork server", "spare"), pids, strict=False)
            for kind in ("Pss", "Rss")
        }
        line.loads.append(os.getloadavg()[0])
        time.sleep(1)
    return line


def _megabytes(pid: int, kind: str) -> float:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith(f"{kind}:")) / 1024
