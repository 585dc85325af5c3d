"""Who is watched now: the blocks there are, and one watcher for each."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

from blocks.errors import Misconfigured, SalvorError
from blocks.filled_in import block_names
from blocks.ledger.block import Ledger
from blocks.postgres import PostgresCluster
from blocks.prefect_api import PrefectApi
from flows.triggers.catalogue import procedures
from flows.triggers.dispatch import Dispatcher
from flows.triggers.loading import load_block
from flows.triggers.sentinel.detect import Pace
from flows.triggers.sentinel.watcher import Watcher

LOG = logging.getLogger("salvor.sentinel")
RELOAD_SECONDS = 5.0
THREADS = 32


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
