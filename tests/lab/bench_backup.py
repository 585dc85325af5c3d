"""`make bench-backup`: how fast a backup, a restore and the way out of a disaster are, beside the bare engine.

A table, with the rules that each row must keep below it, and one JSON object as the last line. Each row stands beside
PostgreSQL's own programs, and beside cp of the data directory, in the same run. Ends 0 when every number is reached.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable

from tests.lab.bench import say
from tests.lab.bench_backup_catalogue import catalogue
from tests.lab.bench_backup_disaster import disaster
from tests.lab.bench_backup_rpo import lost
from tests.lab.bench_backup_stage import Stage, filesystem, stage
from tests.lab.bench_backup_take import take
from tests.lab.bench_rows import Row, figures, table

SCENES: dict[str, Callable[[Stage, int], list[Row]]] = {
    "take": take,
    "disaster": disaster,
    "rpo": lost,
    "catalogue": catalogue,
}


def main() -> int:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.bench_backup", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each kind (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is a database of 2 GB")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), help="leave the others out")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun, rows = time.monotonic(), []
    with stage(given.scale) as found:
        disk = filesystem(found.node.disk)
        for name in given.only:
            say(f"{name} ... ({time.monotonic() - begun:.0f} s, load1 {os.getloadavg()[0]:.1f})")
            measured = SCENES[name](found, given.runs)
            say(table(measured))
            rows += measured
    print("\n" + table(rows))
    said = figures("backup", rows, time.monotonic() - begun, scale=given.scale, filesystem=disk)
    print(json.dumps(said), flush=True)
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
