"""The sentinel against real PostgreSQL: what kills a primary is told in time, and what does not is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from blocks.ledger import alerts, positions
from blocks.ledger.block import Ledger
from blocks.postgres import PostgresCluster
from blocks.prefect_api import PrefectApi
from flows.triggers.dispatch import Dispatcher
from flows.triggers.sentinel.detect import Pace
from flows.triggers.sentinel.watcher import Watcher
from tests.lab.cluster import Lab
from tests.triggers.conftest import KNOWN, Recorder

pytestmark = pytest.mark.drill
RESOURCE = "recovery.postgres.orders"
LOST, RETURNED = "sentinel.primary.lost", "sentinel.primary.returned"


@pytest.fixture(scope="module")
def patient() -> Iterator[Lab]:
    """A primary and two standbys; every test leaves them as they were."""
    with Lab(fast=True, pooler=False) as lab:
        yield lab


class Sentinels:
    """Several sentinels in one event loop, each with a voice of its own."""

    def __init__(self, lab: Lab, ledger: Ledger, prefect: Recorder, number: int = 1) -> None:
        self.ledger, self.prefect = ledger, prefect
        cluster: Any = next(b for _, b in lab.blocks(Path("unused")) if isinstance(b, PostgresCluster))
        self.api = PrefectApi(prefect.url)
        self.dispatcher = Dispatcher(ledger, self.api, KNOWN)
        self.watchers = [Watcher("orders", cluster, self.dispatcher, Pace(), f"s{n}") for n in range(number)]

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> float:
        """Wait for it, and return how long that took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, [w.verdict for w in self.watchers]
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def play(self, scene: Callable[[Sentinels], Any]) -> None:
        """Watch until all is well and recorded, then play SCENE."""
        tasks = [asyncio.create_task(w.run()) for w in self.watchers]
        async with self.api:
            await self.until(lambda: all(w.verdict.kind == "healthy" for w in self.watchers))
            await self.until(lambda: positions.last(self.ledger, RESOURCE))
            # By now every tripwire is held.
            await asyncio.sleep(1.2)
            try:
                await scene(self)
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                await self.dispatcher.drain()

    def told(self, name: str) -> list[dict[str, Any]]:
        return [e for e in self.prefect.events if e["event"] == name]


@pytest.mark.parametrize("how", ["kill_node", "kill_postmaster"])
def test_a_killed_primary_is_told_at_once(patient: Lab, ledger: Ledger, prefect: Recorder, how: str) -> None:
    """SIGKILL of the whole node, and of the postmaster alone; the figures go with the event."""

    async def scene(at: Sentinels) -> None:
        await asyncio.to_thread(getattr(patient, how), "n1")
        took = await at.until(lambda: at.told(LOST))
        print(f"{how}: {took:.3f} s to the event")  # noqa: T201 - a figure for the report
        (event,) = at.told(LOST)
        assert "n1 refused 3 probes over " in event["payload"]["reason"]
        assert event["resource"]["prefect.resource.id"] == RESOURCE
        await asyncio.to_thread(patient.kill_node, "n1")
        await asyncio.to_thread(patient.nodes["n1"].start)
        await at.until(lambda: at.told(RETURNED))
        assert alerts.is_resolved(at.ledger, event["payload"]["alert"])

    asyncio.run(Sentinels(patient, ledger, prefect).play(scene))


def test_a_frozen_primary_is_told(patient: Lab, ledger: Ledger, prefect: Recorder) -> None:
    """SIGSTOP of the whole machine: no connection breaks, nothing is refused, nobody answers."""

    async def scene(at: Sentinels) -> None:
        await asyncio.to_thread(patient.freeze, "n1")
        try:
            took = await at.until(lambda: at.told(LOST))
        finally:
            await asyncio.to_thread(patient.thaw, "n1")
        assert took > 1.4, "A second of a busy network must not be taken for a death."
        print(f"freeze: {took:.3f} s to the event")  # noqa: T201 - a figure for the report
        await at.until(lambda: at.told(RETURNED))
        assert len(at.told(LOST)) == 1

    asyncio.run(Sentinels(patient, ledger, prefect).play(scene))


@pytest.mark.parametrize("mode", ["silent", "refuse"])
def test_a_partition_of_the_sentinel_alone_is_no_loss(
    patient: Lab, ledger: Ledger, prefect: Recorder, mode: Any
) -> None:
    """Only we do not reach the primary, and its standbys do: however often it is missed, nothing is told."""

    async def scene(at: Sentinels) -> None:
        (watcher,) = at.watchers
        patient.cut("n1", "salvor", mode)
        try:
            await at.until(lambda: watcher.watch.tracks["n1"].missed >= 8)
        finally:
            patient.mend("n1")
        assert watcher.verdict.kind == "waiting"
        assert "n1 still talks to n2, n3" in watcher.verdict.why
        await at.until(lambda: watcher.verdict.kind == "healthy")
        assert at.prefect.events == []

    asyncio.run(Sentinels(patient, ledger, prefect).play(scene))


def test_a_primary_without_its_standbys_is_no_loss(patient: Lab, ledger: Ledger, prefect: Recorder) -> None:
    """No standby hears it any more, and we do: the record says that nobody streams, and nothing is told."""

    async def scene(at: Sentinels) -> None:
        patient.cut("n1", "standbys")

        def recorded() -> tuple[str, ...] | None:
            last = positions.last(at.ledger, RESOURCE)
            return last.streaming if last else None

        try:
            await at.until(lambda: recorded() == ())
        finally:
            patient.mend("n1")
        await at.until(lambda: recorded() == ("n2", "n3"))
        assert at.prefect.events == []

    asyncio.run(Sentinels(patient, ledger, prefect).play(scene))


def test_three_sentinels_tell_once(patient: Lab, ledger: Ledger, prefect: Recorder) -> None:
    """All see the death; one event is sent, and one of the return."""

    async def scene(at: Sentinels) -> None:
        await asyncio.to_thread(patient.kill_node, "n1")
        await at.until(lambda: all(w.verdict.kind == "lost" for w in at.watchers) and at.told(LOST))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(patient.nodes["n1"].start)
        await at.until(lambda: all(not w.announcer.open for w in at.watchers) and at.told(RETURNED))
        assert len(at.prefect.events) == 2

    asyncio.run(Sentinels(patient, ledger, prefect, number=3).play(scene))


def test_the_record_of_the_primary_is_kept(patient: Lab, ledger: Ledger, prefect: Recorder) -> None:
    """Position, timeline, synchronous standbys and who streams, each second: the measure of what a failover loses."""

    async def scene(at: Sentinels) -> None:
        first = positions.last(at.ledger, RESOURCE)
        await asyncio.to_thread(
            patient.psql, "n1", "SELECT pg_logical_emit_message(false, 'salvor', repeat('x', 10000))"
        )
        await asyncio.to_thread(patient.psql, "n1", "SELECT pg_switch_wal()")

        def moved() -> bool:
            last = positions.last(at.ledger, RESOURCE)
            return bool(first and last and last.lsn > first.lsn)

        await at.until(moved)
        last = positions.last(at.ledger, RESOURCE)
        assert last
        assert (last.node, last.timeline, last.streaming) == ("n1", 1, ("n2", "n3"))
        assert last.synchronous_standby_names.startswith("ANY 1")

    asyncio.run(Sentinels(patient, ledger, prefect).play(scene))


def test_a_restarted_sentinel_misses_a_primary_it_never_saw(patient: Lab, ledger: Ledger, prefect: Recorder) -> None:
    """It was not running when the primary died; the ledger's record tells it whom to miss."""

    async def only_record(at: Sentinels) -> None:
        await asyncio.sleep(0)

    asyncio.run(Sentinels(patient, ledger, prefect).play(only_record))
    patient.kill_node("n1")

    async def late() -> None:
        again = Sentinels(patient, ledger, prefect)
        task = asyncio.create_task(again.watchers[0].run())
        async with again.api:
            await again.until(lambda: again.told(LOST))
            task.cancel()

    try:
        asyncio.run(late())
    finally:
        patient.nodes["n1"].start()


def test_two_primaries_are_told_and_nothing_is_started(ledger: Ledger, prefect: Recorder) -> None:
    """A standby that was promoted by hand beside a living primary: a page and an event without a procedure."""
    with Lab(fast=True, pooler=False, sync=False) as lab:

        async def scene(at: Sentinels) -> None:
            await asyncio.to_thread(lab.psql, "n2", "SELECT pg_promote()")
            await at.until(lambda: at.told("sentinel.primaries.conflicted"))
            (event,) = at.told("sentinel.primaries.conflicted")
            assert event["resource"]["salvor.procedure"] == ""
            # Whether n2 is still being promoted at that look or takes writes already: both timelines are named.
            assert all(said in event["payload"]["reason"] for said in ("n1 (timeline 1)", "timeline 2", "by hand"))
            assert at.told(LOST) == []

        asyncio.run(Sentinels(lab, ledger, prefect).play(scene))
