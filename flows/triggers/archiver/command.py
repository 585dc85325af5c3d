"""The archiver: keeps WAL streaming into every backup repository, and tells on-call when it cannot.

    python -m flows.triggers.archiver --target orders --target billing

Without a target it keeps every BackupRepository block there is that belongs to a PostgresCluster block of the same
name, also those made later. It needs the block `ledger` and PREFECT_API_URL. What it starts outlives it. Several may
run, on different hosts: one process streams, and each trouble is told once.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from blocks.errors import SalvorError
from blocks.ledger.block import Ledger
from flows.triggers.archiver.decide import Pace
from flows.triggers.archiver.roster import Charge, Roster, charges
from flows.triggers.loading import load_block, speak

LOG = logging.getLogger("salvor.archiver")
RELOAD_SECONDS = 5.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.triggers.archiver",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pace = Pace()
    say = parser.add_argument
    say("--target", action="append", default=[], help="name of a BackupRepository block, several times; without: all")
    say("--interval", type=float, default=pace.interval_seconds, help="seconds between looks (default %(default)s)")
    say("--late", type=float, default=pace.late_seconds, help="seconds without WAL that on-call is told of")
    say("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def keep_for_ever(targets: list[str], roster: Roster) -> None:
    """Keep the archives of TARGETS; blocks that are made, changed or removed meanwhile are noticed."""
    wanted: dict[str, Charge] = charges(targets, {})
    while True:
        roster.follow(wanted)
        time.sleep(RELOAD_SECONDS)
        try:
            wanted = charges(targets, wanted)
        except SalvorError as error:  # a Prefect server that is down must not stop the archive
            LOG.warning("The blocks could not be read, going on with those that are known: %s", error)


def main() -> int:
    """Keep archives until told to stop; 2 when a setting is missing."""
    args = arguments()
    speak(args.log_level)
    try:
        ledger = load_block(Ledger, "ledger")
        ledger.upgrade()
        keep_for_ever(args.target, Roster(ledger, Pace(interval_seconds=args.interval, late_seconds=args.late)))
    except SalvorError as error:
        sys.stderr.write(f"The archiver keeps nothing: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0
