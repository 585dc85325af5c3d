"""What surrounds a forked run: its order, cancellation, the report of a crash, and the hooks of both.

The parts are the ones of Prefect's own process worker, so a run here ends as it would end there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect._internal.infrastructure_exit_codes import get_infrastructure_exit_info
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow, load_flow_from_flow_run
from prefect.runner._cancellation_manager import CancellationManager
from prefect.runner._control_channel import ControlChannel
from prefect.runner._event_emitter import EventEmitter
from prefect.runner._hook_runner import HookRunner
from prefect.runner._process_manager import ProcessHandle, ProcessManager
from prefect.runner._state_proposer import StateProposer

from flows.triggers.responder.forked_run import Order
from flows.triggers.responder.forks import Child, Forks


class ChildScope:
    """How a forked run is ended: it alone is asked to, but what it started dies with it when it does not listen."""

    wait_after_graceful_kill = True

    def is_alive(self, pid: int) -> bool:
        """Whether there is anybody left to signal."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    def graceful_kill(self, pid: int) -> None:
        """Ask."""
        os.kill(pid, signal.SIGTERM)

    def hard_kill(self, pid: int) -> None:
        """Do not ask."""
        os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """Nothing is held."""


class RunSupervision:
    """Owns the runs of one responder, from the order to the last hook."""

    def __init__(self, client: PrefectClient, forks: Forks, logs: Path) -> None:
        """Put Prefect's parts together; `open` makes them usable."""
        self.forks = forks
        self.logs = logs
        self._asked_to_cancel: set[UUID] = set()
        self._states = StateProposer(client=client)
        self._hooks = HookRunner(resolve_flow=_load_flow)
        self._control = ControlChannel()
        self._events = EventEmitter(runner_name="responder", client=client)
        # Never entered: leaving it kills, and a recovery outlives its worker.
        self._processes = ProcessManager()
        self._cancellation = CancellationManager(
            process_manager=self._processes,
            hook_runner=self._hooks,
            state_proposer=self._states,
            event_emitter=self._events,
            client=client,
            control_channel=self._control,
        )

    async def open(self, stack: AsyncExitStack) -> None:
        """Bind the control channel and connect the event client."""
        await stack.enter_async_context(self._control)
        await stack.enter_async_context(self._events)

    async def start(self, flow_run: FlowRun, entrypoint: str, env: dict[str, str], name: socket.socket) -> Child:
        """Hand the run to a child; returns when the child has it."""
        port, token = self._control.register(flow_run.id)
        order = Order(
            flow_run=flow_run,
            entrypoint=entrypoint,
            log=str(self.logs / f"{flow_run.id}.log"),
            env=env
            | {
                "PREFECT__CONTROL_PORT": str(port),
                "PREFECT__CONTROL_TOKEN": token,
                "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
            },
        )
        child = await self.forks.hand_over(flow_run.id, order.model_dump_json().encode(), name)
        handle = ProcessHandle(cast("Any", child), ChildScope())
        await self._processes.add(flow_run.id, handle)
        return child

    async def see_through(self, flow_run: FlowRun, child: Child) -> None:
        """Wait for the end of the run; one that died without an end of its own has crashed."""
        await child.ended.wait()
        concluded = self._control.get_conclusion(flow_run.id)
        await self._processes.remove(flow_run.id)
        self._control.unregister(flow_run.id)
        self._asked_to_cancel.discard(flow_run.id)
        if concluded is None and child.returncode:
            explanation = get_infrastructure_exit_info(child.returncode).explanation
            message = f"The run's process ended with {describe_exit(child.returncode)}. {explanation}"
            if state := await self._states.propose_crashed(flow_run, message):
                await self._hooks.run_crashed_hooks(flow_run, state)

    def running(self) -> set[UUID]:
        """Name the runs that have a process here."""
        return self._processes.flow_run_ids()

    async def idle(self) -> None:
        """Wait until no run is left."""
        while children := [*self.forks.children.values()]:
            await asyncio.gather(*(child.ended.wait() for child in children))

    async def cancel(self, run: UUID) -> None:
        """End a run as Prefect does: tell it, wait, kill it, run its hooks, set Cancelled."""
        if run not in self._asked_to_cancel and run in self.running():
            self._asked_to_cancel.add(run)
            await self._cancellation.cancel_by_id(run)


async def _load_flow(flow_run: FlowRun) -> Flow[..., Any]:
    return await load_flow_from_flow_run(flow_run)


def describe_exit(returncode: int) -> str:
    """Name the signal or the status."""
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit status {returncode}"
