"""`make bench-failover`: how fast, next to what is physically possible and to what Prefect gives by itself.

A table, with the timeline of the steps below each row (seconds after the fault, medians), and one JSON object as the
last line. Ends 0 when every number is reached and nothing was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable

from tests.lab.bench_alert import alert
from tests.lab.bench_memory import memory
from tests.lab.bench_outage import freeze, kill, switchover
from tests.lab.bench_rejoin import rejoin
from tests.lab.bench_stage import Stage, stage
from tests.lab.bench_table import Line, table

SCENES: dict[str, Callable[[Stage, int], Line]] = {
    "memory": memory,
    "alert": alert,
    "kill": kill,
    "freeze": freeze,
    "switchover": switchover,
    "rejoin": rejoin,
}


def main() -> int:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each kind (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), help="leave the others out")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    lines = []
    with stage() as found:
        for name in given.only:
            say(f"{name}: {given.runs} runs of each kind ... (load1 {os.getloadavg()[0]:.1f})")
            lines.append(SCENES[name](found, given.runs))
            say(table(lines[-1:]))
    print("\n" + table(lines))
    print(json.dumps(figures(lines, time.monotonic() - began)), flush=True)
    return 0 if all(line.reached for line in lines) else 1


def figures(lines: list[Line], seconds: float) -> dict[str, object]:
    """Return everything that was measured, and on what."""
    return {
        "bench": "failover",
        "reached": all(line.reached for line in lines),
        "rows": {line.key: line.as_dict() for line in lines},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        "load1": round(os.getloadavg()[0], 2),
        "seconds": round(seconds),
    }


def say(sentence: str) -> None:
    """Tell whoever waits, apart from the result."""
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
