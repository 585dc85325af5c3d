"""`make bench-consistency`: how fast wrong rows are found and repaired, and what writers wait meanwhile.

A table, with the rules that each row must keep below it, and one JSON object as the last line. Each row stands beside
the bare query and beside naive SQL, run on the same rows by the same server. Ends 0 when every number is reached.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable

from tests.lab.bench import say
from tests.lab.bench_consistency_look import detect, memory
from tests.lab.bench_consistency_repair import fence, orphans, reconcile
from tests.lab.bench_consistency_stage import Stage, stage
from tests.lab.bench_rows import Row, figures, table

SCENES: dict[str, Callable[[Stage, int], list[Row]]] = {
    "detect": detect,
    "orphans": orphans,
    "reconcile": reconcile,
    "fence": fence,
    "memory": memory,
}


def main() -> int:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench_consistency", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each kind (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is a million users, and five million payments")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), help="leave the others out")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun, rows = time.monotonic(), []
    with stage(given.scale) as found:
        for name in given.only:
            say(f"{name} ... ({time.monotonic() - begun:.0f} s, load1 {os.getloadavg()[0]:.1f})")
            measured = SCENES[name](found, given.runs)
            say(table(measured))
            rows += measured
    print("\n" + table(rows))
    print(json.dumps(figures("consistency", rows, time.monotonic() - begun, scale=given.scale)), flush=True)
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
