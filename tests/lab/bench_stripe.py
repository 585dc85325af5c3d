"""`make bench-stripe`: how fast the Stripe procedures are, next to the bare requests and to the naive way.

A table, with the rules that each row must keep and its phases below it, and one JSON object as the last line. Ends 0
when every number is reached.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable

from tests.lab.bench import say
from tests.lab.bench_rows import Row, figures, table
from tests.lab.bench_stripe_replay import replay
from tests.lab.bench_stripe_resync import database, limited, memory, unlimited
from tests.lab.bench_stripe_stage import Stage, stage

SCENES: dict[str, Callable[[Stage, int], Row]] = {
    "unlimited": unlimited,
    "limited": limited,
    "database": database,
    "replay": replay,
    "memory": memory,
}


def main() -> int:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench_stripe", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each kind; the slow ones a third (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), help="leave the others out")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun, rows = time.monotonic(), []
    with stage() as found:
        for name in given.only:
            say(f"{name} ... ({time.monotonic() - begun:.0f} s, load1 {os.getloadavg()[0]:.1f})")
            rows.append(SCENES[name](found, given.runs))
            say(table(rows[-1:]))
    print("\n" + table(rows))
    print(json.dumps(figures("stripe", rows, time.monotonic() - begun)), flush=True)
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
