"""Finish what a dead process left: `python -m flows.triggers.sweep [--once]`.

Every sentinel does the same once a second; this does it by hand.
"""

from __future__ import annotations

import logging
import sys
import time

from blocks.errors import SalvorError
from flows.triggers.sweep.sweeper import Sweeper, sweep_once
from tasks.guard import ledger as load_ledger

LOG = logging.getLogger("salvor.sweep")
EVERY_SECONDS = 1.0


def main(arguments: list[str]) -> int:
    """Sweep for ever, or once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        ledger = load_ledger()
        if arguments == ["--once"]:
            sys.stdout.write(sweep_once(ledger).model_dump_json() + "\n")
            return 0
    except SalvorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _for_ever(Sweeper(ledger))


def _for_ever(sweeper: Sweeper) -> int:
    while True:
        try:
            sweeper.turn()
        except SalvorError as error:
            LOG.warning("The sweep did not get through, trying again: %s", error)
        except KeyboardInterrupt:
            return 0
        time.sleep(EVERY_SECONDS)
