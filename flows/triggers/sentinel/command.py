"""The sentinel: watches PostgreSQL primaries, tells Prefect when one is lost, and sweeps up after runs that died.

    python -m flows.triggers.sentinel --target orders --target billing

Without a target it watches every PostgresCluster block there is, also those made later. It needs the block `ledger`
and PREFECT_API_URL. Run at least two, on different hosts: they agree through the ledger, and one event is sent. A
planned restart of a primary is a loss too, unless the target is held (recovery-hold): the sentinel tells what it
sees, and the run's gate respects the hold.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import threading
import time

from blocks.errors import SalvorError
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.loading import load_block, speak
from flows.triggers.sentinel.detect import Pace
from flows.triggers.sentinel.roster import watch
from flows.triggers.sweep.sweeper import Sweeper

LOG = logging.getLogger("salvor.sentinel")
SWEEP_SECONDS = 1.0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.triggers.sentinel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pace = Pace()
    say = parser.add_argument
    say("--target", action="append", default=[], help="name of a PostgresCluster block, several times; without: all")
    say("--interval", type=float, default=pace.interval_seconds, help="seconds between looks (default %(default)s)")
    say("--misses", type=int, default=pace.misses, help="misses in a row that make a loss (default %(default)s)")
    say("--rearm", type=float, default=pace.rearm_seconds, help="seconds until a loss that lasts is told again")
    say("--no-sweep", action="store_true", help="leave orphaned runs and the outbox to another sentinel")
    say("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def sweep_for_ever(ledger: Ledger) -> None:
    """Take over from runs that died and deliver the outbox, each second, in a thread of its own."""
    sweeper = Sweeper(ledger)
    while True:
        try:
            sweeper.turn()
        except Exception:
            LOG.exception("A sweep failed; the next one follows.")
        time.sleep(SWEEP_SECONDS)


def main() -> int:
    """Watch until told to stop; 2 when a setting is missing."""
    args = arguments()
    speak(args.log_level)
    try:
        ledger = load_block(Ledger, "ledger")
        ledger.upgrade()
        prefect = PrefectApi.configured()
        if not args.no_sweep:
            threading.Thread(target=sweep_for_ever, args=(ledger,), daemon=True, name="sweep").start()
        asyncio.run(watch(args.target, ledger, prefect, args))
    except SalvorError as error:
        sys.stderr.write(f"The sentinel does not watch: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0
