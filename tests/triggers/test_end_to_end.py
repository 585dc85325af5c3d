"""From an alert over HTTP to a flow run in a real Prefect server, and to its cancellation when the alert is over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import get_current_settings

from blocks.errors import Misconfigured
from blocks.filled_in import block_names
from blocks.intake import Intake
from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.loading import load_block
from flows.triggers.receiver.application import build
from tests.triggers.conftest import KNOWN, Served, eventually
from tests.triggers.receiver.test_receiver import BEARER, golden

PARAMETERS = ("target", "reason", "requested_by", "alert")


@flow(name="postgres-failover")
def stand_in(target: str, reason: str = "", requested_by: str = "", alert: str = "") -> None:
    """Take the parameters of every procedure, and do nothing."""


@pytest.fixture
def client(prefect_server: None) -> Any:
    """A client of the session's Prefect server."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(client: SyncPrefectClient) -> UUID:
    """A deployment of a stand-in, started by the receiver's events as deployments.yaml says it."""
    flow_id = client.create_flow_from_name("postgres-failover")
    schema = stand_in_schema()
    made = client.create_deployment(flow_id=flow_id, name="stand-in", parameter_openapi_schema=schema)
    trigger = EventTrigger(
        expect={"alertmanager.alert.fired", "sentinel.primary.lost"},
        match={"prefect.resource.id": "recovery.postgres.*", "salvor.procedure": "postgres-failover"},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    parameters = {name: f"{{{{ event.payload.{name} }}}}" for name in PARAMETERS}
    action = RunDeployment(deployment_id=made, parameters=parameters)
    client._client.post(  # noqa: SLF001 - the sync client has no method for automations
        "/automations/",
        json=AutomationCore(name="failover", trigger=trigger, actions=[action]).model_dump(mode="json"),
    ).raise_for_status()
    return made


def stand_in_schema() -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "string", "title": name} for name in PARAMETERS}}


def runs_of(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    return client.read_flow_runs(flow_run_filter=wanted)


def test_an_alert_starts_a_run_and_its_end_cancels_it(
    client: SyncPrefectClient, deployment: UUID, ledger: Ledger, intake: Intake
) -> None:
    """One alert, delivered three times, is one scheduled run with every parameter; resolved, that run is cancelled."""
    served = Served(build(ledger, intake, PrefectApi.configured(), KNOWN))
    body = golden("alertmanager_ok_labels")
    body["alerts"][0]["fingerprint"] = f"f{time.time_ns()}"
    with httpx.Client(base_url=served.url, headers=BEARER) as caller:
        began = time.monotonic()
        for _ in range(3):
            assert caller.post("/hooks/alertmanager", json=body).status_code == 200
        (run,) = eventually(lambda: runs_of(client, deployment), 30)
        created = time.monotonic() - began
        assert run.parameters == {
            "target": "orders",
            "reason": "DatabaseConnectionFailure: Database connection failure",
            "requested_by": "alertmanager",
            "alert": body["alerts"][0]["fingerprint"],
        }
        assert not outbox.undelivered(ledger)
        body["alerts"][0]["status"] = "resolved"
        caller.post("/hooks/alertmanager", json=body)
        ended = eventually(lambda: [r for r in runs_of(client, deployment) if r.state and r.state.is_cancelled()], 30)
    served.close()
    assert [r.id for r in ended] == [run.id]
    assert ended[0].state
    assert ended[0].state.message == "The alert was resolved before this began."
    assert len(runs_of(client, deployment)) == 1
    print(f"alert to scheduled run: {created:.3f} s")  # noqa: T201 - a figure for the report


def test_the_intake_block_is_kept_whole(prefect_server: None, intake: Intake) -> None:
    """All secrets come back from Prefect as they were saved, lists of them too, and are masked when shown."""
    intake.save("intake-of-tests", overwrite=True)
    loaded = load_block(Intake, "intake-of-tests")
    assert loaded.pagerduty_secrets == intake.pagerduty_secrets
    assert (loaded.alerts, loaded.operators, loaded.scrapers) == (intake.alerts, intake.operators, intake.scrapers)
    assert "intake-of-tests" in block_names(Intake)
    with get_client(sync_client=True) as client:
        shown = client.read_block_document_by_name("intake-of-tests", "salvor-intake", include_secrets=False)
    assert intake.alerts[0] not in str(shown.data)
    assert "pagerduty-secret" not in str(shown.data)


def test_the_settings_of_prefect_are_used(prefect_server: None) -> None:
    """The receiver speaks to the server that flows speak to."""
    assert get_current_settings().api.url == PrefectApi.configured().url


def test_a_missing_block_is_said(prefect_server: None) -> None:
    """The sentence names the block and how to make it; a kind without any block is an empty list."""
    with pytest.raises(Misconfigured, match="There is no Intake block named `no-such-block`"):
        load_block(Intake, "no-such-block")


@pytest.mark.parametrize("process", ["receiver", "sentinel"])
def test_a_process_without_prefect_does_not_start(process: str, tmp_path: Path) -> None:
    """It ends with 2 and a sentence, and leaves the rest to its supervisor."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/api"
        found = subprocess.run(
            [sys.executable, "-m", f"flows.triggers.{process}"],
            env=os.environ | {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert found.returncode == 2
    assert "PREFECT_API_URL" in found.stderr
    assert "Traceback" not in found.stderr
