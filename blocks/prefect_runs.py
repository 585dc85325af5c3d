"""What the sweep asks of the Prefect server: how a run stands, and that it ends or begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Failed, Running
from pydantic import BaseModel, ConfigDict

from blocks.errors import Misconfigured, Transient

SECONDS = 5.0
GONE_OR_CHANGED = {404, 409, 422}


class Unstartable(Misconfigured):
    """The deployment is gone, or does not take these parameters any more: run `prefect deploy --all`."""

    code = 21


class Standing(BaseModel):
    """How Prefect says a run stands."""

    model_config = ConfigDict(frozen=True)

    kind: str  #: Prefect's state type, e.g. RUNNING
    name: str
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether it will not change any more by itself."""
        return self.kind in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    @property
    def cancelled(self) -> bool:
        """Whether a person wanted it to stop."""
        return self.kind in {"CANCELLED", "CANCELLING"}


class Runs(Protocol):
    """What the sweep needs, so that it can be tried without a server."""

    def standing(self, flow_run_id: str) -> Standing | None:
        """Tell how the run stands; None when there is no such run."""

    def crash(self, flow_run_id: str, why: str) -> None:
        """Say that the process of the run died."""

    def cancel(self, flow_run_id: str) -> None:
        """Finish a cancellation that nobody is left to finish."""

    def end(self, flow_run_id: str, outcome: str, why: str, *, succeeded: bool) -> None:
        """Say how the run ended."""

    def start(self, deployment_id: str, parameters: dict[str, Any], key: str) -> str:
        """Start the deployment; the same KEY starts one run, however often it is asked."""

    def report(self, flow_run_id: str, key: str, markdown: str, description: str) -> None:
        """Show the report of a run."""

    def post_event(self, body: dict[str, Any]) -> None:
        """Send an event; the same id sent twice starts nothing twice."""


class PrefectRuns:
    """The same, on a real server. Every call may be repeated."""

    def standing(self, flow_run_id: str) -> Standing | None:
        """Tell how the run stands; None when there is no such run."""
        with _client() as client:
            try:
                state = client.read_flow_run(UUID(flow_run_id)).state
            except (ObjectNotFound, ValueError):
                return None
        if state is None:
            return Standing(kind="PENDING", name="Pending")
        return Standing(kind=state.type.value, name=state.name or "", message=state.message or "")

    def crash(self, flow_run_id: str, why: str) -> None:
        """Say that the process of the run died."""
        with _client() as client:
            client.set_flow_run_state(flow_run_id, Crashed(message=why), force=True)

    def cancel(self, flow_run_id: str) -> None:
        """Finish a cancellation that nobody is left to finish."""
        with _client() as client:
            client.set_flow_run_state(flow_run_id, Cancelled(message="Cancelled by a person."), force=True)

    def go_on(self, flow_run_id: str) -> None:
        """Take the run out of a pause that has run out; the server would answer every later state with `Failed`."""
        with _client() as client:
            client.set_flow_run_state(flow_run_id, Running(message="Nobody approved the plan in time."), force=True)

    def end(self, flow_run_id: str, outcome: str, why: str, *, succeeded: bool) -> None:
        """Say how the run ended."""
        make = Completed if succeeded else Failed
        with _client() as client:
            client.set_flow_run_state(flow_run_id, make(name=outcome, message=why), force=True)

    def start(self, deployment_id: str, parameters: dict[str, Any], key: str) -> str:
        """Start the deployment; the same KEY starts one run, however often it is asked."""
        with _client() as client:
            try:
                run = client.create_flow_run_from_deployment(
                    UUID(deployment_id), parameters=parameters, idempotency_key=key
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code in GONE_OR_CHANGED:
                    raise Unstartable from error
                raise
        return str(run.id)

    def begun(self, key: str) -> str:
        """Give the id of the run that was started with KEY; empty when none was."""
        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        with _client() as client:
            found = client.read_flow_runs(flow_run_filter=wanted, limit=1)
        return str(found[0].id) if found else ""

    def deployment(self, procedure: str) -> str:
        """Give the id of the deployment that has the name of its PROCEDURE."""
        with _client() as client:
            try:
                return str(client.read_deployment_by_name(f"{procedure}/{procedure}").id)
            except ObjectNotFound as error:
                raise Unstartable from error

    def report(self, flow_run_id: str, key: str, markdown: str, description: str) -> None:
        """Show the report of a run."""
        artifact = ArtifactCreate(
            type="markdown", key=key, data=markdown, description=description, flow_run_id=UUID(flow_run_id)
        )
        with _client() as client:
            client.create_artifact(artifact)

    def post_event(self, body: dict[str, Any]) -> None:
        """Send an event; the same id sent twice starts nothing twice."""
        with _client() as client:
            client.request("POST", "/events", json=[body])


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    # Without Prefect's own retries, which would hold the sweep up for a minute: it comes again in a second.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        try:
            with get_client(httpx_settings={"timeout": SECONDS}, sync_client=True) as client:
                yield client
        except httpx.HTTPStatusError as error:
            if error.response.is_client_error:
                raise Misconfigured(f"Prefect refused: {error.response.status_code} {error.response.text}") from error
            raise Transient(f"Prefect did not do it: {error}") from error
        except (httpx.HTTPError, RuntimeError, OSError) as error:
            raise Transient(f"Prefect did not answer: {error}") from error
