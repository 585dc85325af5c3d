"""Watches one cluster: overlapping probes, a tripwire, a verdict after every answer, and the voice that tells it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from blocks.errors import SalvorError
from blocks.ledger import positions
from blocks.ledger.block import Ledger
from blocks.ledger.records import Position
from blocks.postgres import PostgresCluster
from blocks.postgres_tripwire import until_broken
from flows.triggers.dispatch import Dispatcher, Filed
from flows.triggers.sentinel.announce import Announcer, Seen
from flows.triggers.sentinel.detect import Pace, Sight, Verdict, Watch, begin, judge, next_look, note
from flows.triggers.sentinel.look import look

LOG = logging.getLogger("salvor.sentinel")
APPLICATION_NAME = "salvor-sentinel"
RECORD_SECONDS = 1.0
TRIPWIRE_PAUSE_SECONDS = 1.0


class Watcher:
    """The sentinel's eye on one target."""

    def __init__(self, target: str, cluster: PostgresCluster, dispatcher: Dispatcher, pace: Pace, by: str) -> None:
        """Begin where the ledger's record ends, so that a primary that died before us is missed too."""
        self.target = target
        self.addresses = cluster.conninfos(APPLICATION_NAME)
        self.ledger: Ledger = dispatcher.ledger
        self.dispatcher = dispatcher
        self.pace = pace
        self.announcer = Announcer(self.ledger, target, by, dispatcher.known, pace)
        last = positions.last(self.ledger, self.resource)
        self.watch: Watch = begin(tuple(self.addresses), last.node if last else "", last.timeline if last else 0)
        self.verdict = Verdict(kind="waiting", why="The first look is on its way.")
        self._look_now = asyncio.Event()
        self._busy: set[str] = set()
        self._recorded = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def resource(self) -> str:
        """What the ledger calls the target."""
        return f"recovery.postgres.{self.target}"

    async def run(self) -> None:
        """Look until cancelled."""
        self._start(self._hold())
        try:
            while True:
                for node in self.addresses:
                    self._start(self._look(node))
                self._look_now.clear()
                try:
                    await asyncio.wait_for(self._look_now.wait(), self._pause())
                except TimeoutError:
                    continue
        finally:
            for task in tuple(self._tasks):
                task.cancel()

    def _pause(self) -> float:
        # A loss that is told makes no haste any more: whoever recovers needs the processors, the nodes' too.
        told = self.verdict.kind == "lost"
        return self.pace.interval_seconds if told else next_look(self.watch, time.monotonic(), self.pace)

    async def _look(self, node: str) -> None:
        self.take(await look(node, self.addresses[node], self.pace.deadline_seconds))

    def take(self, sight: Sight) -> None:
        """Take one answer into account, and tell what follows from it."""
        calm = self.pace.interval_seconds == next_look(self.watch, sight.ended, self.pace)
        self.watch = note(self.watch, sight, self.pace)
        now = time.monotonic()
        before, self.verdict = self.verdict, judge(self.watch, now, self.pace)
        if (before.kind, before.node) != (self.verdict.kind, self.verdict.node):
            LOG.info("%s: %s. %s", self.target, self.verdict.kind, self.verdict.why)
        if calm and next_look(self.watch, now, self.pace) < self.pace.interval_seconds:
            self._look_now.set()
        self._act(now)

    def _act(self, now: float) -> None:
        if self.verdict.kind == "healthy" and now - self._recorded >= RECORD_SECONDS:
            self._in_thread("record", self._record, now)
        voices: dict[str, Callable[[Seen], list[Filed]] | None] = {
            "healthy": self.announcer.healthy if self.announcer.open else None,
            "lost": self.announcer.lost,
            "conflicted": self.announcer.conflicted,
        }
        if voice := voices.get(self.verdict.kind):
            self._in_thread("tell", self._tell, voice, self._seen(now))

    def _seen(self, now: float) -> Seen:
        at, good = datetime.now(UTC), self.verdict.last_good
        last_good = None if good is None else at - timedelta(seconds=now - good)
        return Seen(verdict=self.verdict, watch=self.watch, at=at, last_good_at=last_good)

    async def _tell(self, voice: Callable[[Seen], list[Filed]], seen: Seen) -> None:
        for filed in await asyncio.to_thread(voice, seen):
            LOG.warning("%s: %s", self.target, filed.said)
            self.dispatcher.push(filed)

    async def _record(self, now: float) -> None:
        sight = self.watch.tracks[self.verdict.node].latest
        if sight is None or sight.said is None:
            return
        said, at = sight.said, datetime.now(UTC) - timedelta(seconds=now - sight.ended)
        position = Position(
            resource=self.resource,
            node=sight.node,
            lsn=said.lsn,
            timeline=said.timeline,
            synchronous_standby_names=said.synchronous_standby_names,
            streaming=said.streaming,
            at=at,
        )
        self._recorded = now
        await asyncio.to_thread(positions.record, self.ledger, position)

    async def _hold(self) -> None:
        while True:
            primary = self.watch.primary
            if primary and self.verdict.kind == "healthy":
                address = self.addresses[primary]
                if await until_broken(address, self.pace.deadline_seconds):
                    LOG.info("%s: the connection held to %s broke.", self.target, primary)
                    self._look_now.set()
            await asyncio.sleep(TRIPWIRE_PAUSE_SECONDS)

    def _in_thread(self, what: str, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        # One of each kind at a time: a ledger that is slow must not be asked ten times a second.
        if what not in self._busy:
            self._busy.add(what)
            self._start(self._guarded(what, work, *args))

    async def _guarded(self, what: str, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        try:
            await work(*args)
        except SalvorError as error:
            LOG.error("%s: could not %s: %s", self.target, what, error)  # noqa: TRY400 - the sentence says it
        finally:
            self._busy.discard(what)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
