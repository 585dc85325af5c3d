"""What a responder finds that another one left behind is judged by what it says last."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID, uuid4

from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Running

from flows.triggers.responder import abandoned
from flows.triggers.responder.forks import reserve

LOG = logging.getLogger("test")


class PaperClient:
    """Lists a run as it was a moment ago, and reads it as it is now."""

    def __init__(self, listed: State, now: State) -> None:
        at = {"id": uuid4(), "flow_id": uuid4(), "infrastructure_pid": abandoned.address(1)}
        self.listed, self.now = (FlowRun(**at, state=state) for state in (listed, now))
        self.told: list[str] = []

    async def read_flow_runs(self, **_: object) -> list[FlowRun]:
        return [self.listed]

    async def read_flow_run(self, _: UUID) -> FlowRun:
        return self.now

    async def set_flow_run_state(self, _: UUID, state: State, *, force: bool) -> None:
        self.told.append(str(state.name))


async def released(listed: State, now: State) -> list[str]:
    client = PaperClient(listed, now)
    await abandoned.release(client, "pool", LOG)
    return client.told


def test_a_run_that_ended_while_it_was_looked_at_keeps_its_end():
    """It was RUNNING in the list; by the time its name was free it had told Prefect its outcome and left."""
    assert asyncio.run(released(Running(), Completed(name="Recovered"))) == []


def test_a_run_whose_process_is_gone_without_a_word_has_crashed():
    """Nobody holds its name, and Prefect still believes that it runs."""
    assert asyncio.run(released(Running(), Running())) == ["Crashed"]


def test_a_run_that_is_executed_is_left_alone():
    """Its child holds the name, whatever became of the responder."""
    client = PaperClient(Running(), Running())
    with reserve(client.listed.id):
        asyncio.run(abandoned.release(client, "pool", LOG))
    assert client.told == []
