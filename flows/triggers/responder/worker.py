"""The worker type `responder`: a run starts some 0.1 s after it was scheduled, in a child forked from a warm process.

The event stream tells it of a run; polling is the fallback. Flows are imported once: after a change of the code, of
the packages or of `preload`, restart the responder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import anyio
import anyio.abc
import httpx
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Pending
from prefect.types._datetime import now
from prefect.utilities.engine import propose_state
from prefect.workers.base import BaseWorker, BaseWorkerResult

from flows.triggers.responder import abandoned
from flows.triggers.responder.forks import Forks, ForkServerLost, reserve
from flows.triggers.responder.settings import (
    ResponderConfiguration,
    ResponderVariables,
    all_procedures,
    environment,
    run_logs,
)
from flows.triggers.responder.supervision import RunSupervision

STARTS = ("Scheduled", "Late", "Resuming", "AwaitingRetry", "AwaitingConcurrencySlot")
RECONNECT_SECONDS = 1.0
PID_DELAY_SECONDS = 1.0
TEND_SECONDS = 5.0


class ResponderResult(BaseWorkerResult):
    """How a run's process ended."""


class Responder(BaseWorker[ResponderConfiguration, ResponderVariables, ResponderResult]):
    """Claims a run as soon as the event stream tells of it, and gives it to a child that is already warm."""

    type = "responder"
    job_configuration = ResponderConfiguration
    job_configuration_variables = ResponderVariables
    _display_name = "Responder"
    _description = "Runs flows in children forked from a process that has imported them, for what must start at once."

    forks: Forks
    supervision: RunSupervision

    async def _initialize_after_sync(self) -> None:
        """Start what needs the work pool, as soon as that is known."""
        if self._work_pool is not None and not self._has_successfully_synced:
            await self._open()
        await super()._initialize_after_sync()

    async def _open(self) -> None:
        configuration = await self._configure({})
        self.forks = Forks(configuration.preload or all_procedures())
        self.supervision = RunSupervision(self.client, self.forks, run_logs())
        await self.supervision.open(self._exit_stack)
        for service in (self.forks.listen, self._follow_events, self._tend):
            self._serve(service)

    def _serve(self, service: Callable[[], Awaitable[None]]) -> None:
        """Keep SERVICE running until the worker is torn down."""

        async def scoped() -> None:
            with anyio.CancelScope() as scope:
                self._scheduled_task_scopes.add(scope)
                await service()

        self._tasks.start_soon(scoped)

    @property
    def _tasks(self) -> anyio.abc.TaskGroup:
        """What lives as long as the worker."""
        return cast("anyio.abc.TaskGroup", self._runs_task_group)

    async def _setup_cancellation_observer(self) -> None:
        """Set nothing up: cancellations come by the same stream as the runs."""

    async def _follow_events(self) -> None:
        """React to every event of the pool; while the stream is down, polling goes on alone."""
        pool = EventAnyResourceFilter(id=[f"prefect.work-pool.{self.work_pool.id}"])
        names = [f"prefect.flow-run.{state}" for state in (*STARTS, "Cancelling")]
        while True:
            with contextlib.suppress(Exception):
                wanted = EventFilter(event=EventNameFilter(name=names), any_resource=pool)
                async with get_events_subscriber(filter=wanted) as subscriber:
                    self._logger.info("Connected to the event stream.")
                    async for event in subscriber:
                        self._react(event)
            self._logger.warning("The event stream is down; polling until it is back.")
            await asyncio.sleep(RECONNECT_SECONDS)

    def _react(self, event: Event) -> None:
        run = UUID(event.resource.id.removeprefix("prefect.flow-run."))
        reaction = self.supervision.cancel if event.event.endswith(".Cancelling") else self._take_up
        self._tasks.start_soon(reaction, run)

    async def _take_up(self, run: UUID) -> None:
        """Submit a run that is due and meant for this worker, without waiting for a poll."""
        with contextlib.suppress(ObjectNotFound):
            flow_run = await self.client.read_flow_run(run)
            if self._is_due(flow_run) and flow_run.work_queue_id:
                entry = WorkerFlowRunResponse(
                    work_pool_id=self.work_pool.id, work_queue_id=flow_run.work_queue_id, flow_run=flow_run
                )
                await self._submit_scheduled_flow_runs([entry])

    def _is_due(self, flow_run: FlowRun) -> bool:
        """Whether the run may start now and here; polling finds those that are due later."""
        state = flow_run.state
        due_at = state.state_details.scheduled_time if state else None
        return (
            state is not None
            and state.is_scheduled()
            and (due_at is None or due_at <= now("UTC"))
            and self.is_setup
            and not self.work_pool.is_paused
            and (not self._work_queues or flow_run.work_queue_name in self._work_queues)
        )

    async def _tend(self) -> None:
        """Look now and then for what no event tells: a missed cancellation, and what a dead responder left behind."""
        while True:
            try:
                for run in await abandoned.cancelling(self.client, self.supervision.running()):
                    self._tasks.start_soon(self.supervision.cancel, run)
                await abandoned.release(self.client, self._work_pool_name, self._logger)
            except httpx.HTTPError as error:
                self._logger.warning("Abandoned runs cannot be looked for: %s", error)
            await asyncio.sleep(TEND_SECONDS)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Claim the run and see it through; whoever else claims it is turned away by the server."""
        try:
            with contextlib.suppress(ForkServerLost):  # the claim is released as one that was never started
                await self._claim_and_run(flow_run)
        except Exception as exc:
            self._logger.exception("Run %s could not be started.", flow_run.id)
            await self._propose_crashed_state(flow_run, f"The run could not be started: {exc}")
        finally:
            self._release_limit_slot(flow_run.id)
            self._submitting_flow_run_ids.discard(flow_run.id)

    async def _claim_and_run(self, flow_run: FlowRun) -> None:
        name = reserve(flow_run.id)
        if name is None:
            return
        with name:
            claimed, deployment = await asyncio.gather(self._claim(flow_run), self._deployment(flow_run))
            if not claimed:
                return
            configuration = await self._configure({**deployment.job_variables, **(flow_run.job_variables or {})})
            env = environment(configuration, flow_run)
            child = await self.supervision.start(flow_run, deployment.entrypoint or "", env, name)
        self._submitting_flow_run_ids.discard(flow_run.id)
        self._serve(lambda: self._tell_pid(flow_run.id, child.pid))
        with anyio.CancelScope(shield=True):
            await self.supervision.see_through(flow_run, child)

    async def _claim(self, flow_run: FlowRun) -> bool:
        """Win the run with the one transition that the server grants only once."""
        claim: State[None] = Pending(message=abandoned.claim(self.name))
        try:
            state = await propose_state(self.client, claim, flow_run_id=flow_run.id)
        except Abort:
            return False
        return state.is_pending()

    async def _deployment(self, flow_run: FlowRun) -> DeploymentResponse:
        if flow_run.deployment_id is None:
            raise ValueError("a responder runs deployments; this run has none")
        return await self.client.read_deployment(flow_run.deployment_id)

    async def _configure(self, values: dict[str, Any]) -> ResponderConfiguration:
        template = self.work_pool.base_job_template
        configured = await self.job_configuration.from_template_and_values(template, values, client=self.client)
        return cast("ResponderConfiguration", configured)

    async def _tell_pid(self, run: UUID, pid: int) -> None:
        """Note where the run lives; not at once, because its first transitions need the server more."""
        await asyncio.sleep(PID_DELAY_SECONDS)
        with contextlib.suppress(Exception):
            await self.client.update_flow_run(run, infrastructure_pid=abandoned.address(pid))

    async def teardown(self, *exc_info: object) -> None:
        """Leave when the last run has ended; who cannot wait kills the worker, and its runs go on without it."""
        self.is_setup = False
        with anyio.CancelScope(shield=True):
            if self._has_successfully_synced:
                await self.supervision.idle()
                self.forks.close()
        await super().teardown(*exc_info)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ResponderConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ResponderResult:
        """Refuse: Prefect's own way of submitting would start the run cold."""
        raise NotImplementedError("a responder runs what is scheduled on its work pool")
