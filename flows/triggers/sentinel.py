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
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

from blocks.errors import Misconfigured, SalvorError
from blocks.ledger.block import Ledger
from blocks.postgres import PostgresCluster
from blocks.prefect_api import PrefectApi
from flows.triggers.catalogue import procedures
from flows.triggers.detect import Pace
from flows.triggers.dispatch import Dispatcher
from flows.triggers.loading import block_names, load_block, speak
from flows.triggers.sweep import Sweeper
from flows.triggers.watcher import Watcher

LOG = logging.getLogger("salvor.sentinel")
RELOAD_SECONDS = 5.0
SWEEP_SECONDS = 1.0
THREADS = 32


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


async def watch(targets: list[str], ledger: Ledger, prefect: PrefectApi, settings: argparse.Namespace) -> None:
    """Watch every target until cancelled; blocks that are made, changed or removed meanwhile are noticed."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    wanted = await asyncio.to_thread(clusters, targets, {})
    async with prefect:
        await prefect.warm()
        roster = Roster(Dispatcher(ledger, prefect, procedures()), settings)
        while True:
            await roster.follow(wanted)
            await asyncio.sleep(RELOAD_SECONDS)
            # A Prefect server that is down must not stop the watch.
            with suppress(SalvorError):
                wanted = await asyncio.to_thread(clusters, targets, wanted)


def clusters(targets: list[str], before: dict[str, PostgresCluster]) -> dict[str, PostgresCluster]:
    """Load the blocks of TARGETS, or of every PostgresCluster there is; BEFORE is what was read the last time.

    Prefect's form saves a block that is half filled in: it must not blind us to the others.
    """
    found = {}
    for name in targets or block_names(PostgresCluster):
        try:
            found[name] = load_block(PostgresCluster, name)
        except Misconfigured as error:
            if targets and name not in before:
                raise
            LOG.error("%s: %s", name, error)  # noqa: TRY400 - the sentence says it all
            found |= {name: before[name]} if name in before else {}
    return found


class Roster:
    """Who is watched now."""

    def __init__(self, dispatcher: Dispatcher, settings: argparse.Namespace) -> None:
        """Watch nobody yet."""
        self.dispatcher = dispatcher
        self.settings = settings
        self.by = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._watching: dict[str, tuple[str, asyncio.Task[None]]] = {}

    async def follow(self, wanted: dict[str, PostgresCluster]) -> None:
        """Begin and end watches until they are what is WANTED; one that broke is begun anew."""
        for target, (was, task) in list(self._watching.items()):
            if target not in wanted or described(wanted[target]) != was or task.done():
                del self._watching[target]
                await end(target, task)
        for target in wanted.keys() - self._watching.keys():
            self._watching[target] = described(wanted[target]), await self._begin(target, wanted[target])

    async def _begin(self, target: str, cluster: PostgresCluster) -> asyncio.Task[None]:
        pace = Pace(
            interval_seconds=self.settings.interval,
            deadline_seconds=cluster.probe_deadline_seconds,
            misses=self.settings.misses,
            rearm_seconds=self.settings.rearm,
        )
        watcher = await asyncio.to_thread(Watcher, target, cluster, self.dispatcher, pace, self.by)
        LOG.info("%s: watched, %s nodes.", target, len(cluster.nodes))
        return asyncio.create_task(watcher.run())


async def end(target: str, task: asyncio.Task[None]) -> None:
    """End a watch, and say why when it ended by itself."""
    task.cancel()
    (error,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(error, asyncio.CancelledError):
        LOG.error("%s: the watch broke and is begun anew.", target, exc_info=error)


def described(cluster: PostgresCluster) -> str:
    """Return what makes a difference to the watch."""
    return repr((cluster.conninfos(), cluster.probe_deadline_seconds))


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


if __name__ == "__main__":
    raise SystemExit(main())
