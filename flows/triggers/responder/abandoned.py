"""Runs that a dead responder left behind: claimed but never started, or started and gone without a word."""

from __future__ import annotations

import contextlib
import logging
import socket
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Scheduled

from flows.triggers.responder.forks import reserve

HOST = socket.gethostname()
CLAIM = "Claimed by {responder} on {host}."
#: A run is started some 0.1 s after it was claimed. Here a free name proves that it was not; elsewhere only time does.
UNSTARTED_SECONDS = 5
UNSTARTED_ELSEWHERE_SECONDS = 60


def claim(responder: str) -> str:
    """Word the message of the PENDING state, by which the claimer's host is known later."""
    return CLAIM.format(responder=responder, host=HOST)


def address(pid: int) -> str:
    """Say where a run lives."""
    return f"{HOST}:{pid}"


async def cancelling(client: PrefectClient, runs: set[UUID]) -> list[UUID]:
    """Find which of RUNS somebody wants cancelled."""
    if not runs:
        return []
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)), state=_in(StateType.CANCELLING))
    return [run.id for run in await client.read_flow_runs(flow_run_filter=wanted)]


async def release(
    client: PrefectClient, pool: str, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> None:
    """Schedule again what was claimed and never started; call crashed what was started here and is gone."""
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=_in(StateType.PENDING, StateType.RUNNING)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
    for run in found:
        name = reserve(run.id) if _verdict(run, datetime.now(UTC)) else None
        if name is not None:
            with name:
                await _judge(client, run.id, logger)


async def _judge(
    client: PrefectClient, run_id: UUID, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> None:
    """Say what becomes of a run whose name is held: only now is what it has told Prefect its last word."""
    with contextlib.suppress(ObjectNotFound):
        verdict = _verdict(await client.read_flow_run(run_id), datetime.now(UTC))
        if verdict is not None:
            logger.warning("Run %s: %s", run_id, verdict.message)
            await client.set_flow_run_state(run_id, verdict, force=True)


def _verdict(run: FlowRun, at: datetime) -> State[None] | None:
    """Say what the run becomes if no process here executes it; None when that is not for us to say."""
    if run.state is None:
        return None
    age = at - run.state.timestamp
    claimed_here = (run.state.message or "").endswith(f" on {HOST}.")
    patience = timedelta(seconds=UNSTARTED_SECONDS if claimed_here else UNSTARTED_ELSEWHERE_SECONDS)
    if run.state.is_pending() and age > patience:
        return Scheduled(message="It was claimed by a responder that never started it.")
    if run.state.is_running() and (run.infrastructure_pid or "").startswith(f"{HOST}:"):
        return Crashed(message=f"Its process {run.infrastructure_pid} is gone, and so was the responder.")
    return None


def _in(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
