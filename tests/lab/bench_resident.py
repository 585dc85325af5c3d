"""The floor of "alert to first task": a process that has everything loaded and calls the flow when an event comes.

It gives up what a worker is for: a crash takes every run with it, nobody can cancel one, and no run has a deployment.
"""

from __future__ import annotations

import asyncio

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.postgres_failover import postgres_failover

ASKED = "bench.resident.asked"


async def serve() -> None:
    """Call the flow for every event until killed."""
    wanted = EventFilter(event=EventNameFilter(name=[ASKED]))
    async with get_events_subscriber(filter=wanted) as subscriber:
        print("ready", flush=True)
        async for event in subscriber:
            await asyncio.to_thread(postgres_failover, **event.payload, return_state=True)


if __name__ == "__main__":
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        asyncio.run(serve())
