"""What the sweep does to a real Prefect server; each of it may be repeated."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Paused, Pending, Running

from blocks.errors import Misconfigured, Transient
from blocks.prefect_runs import PrefectRuns, Standing, Unstartable
from tests.flows.fakes import fake_failover


@pytest.fixture
def runs(prefect_server):
    """Give the real thing."""
    return PrefectRuns()


@pytest.fixture
def deployment(prefect_server):
    """Register a deployment, whose form is enforced as in production."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(fake_failover)
        return str(
            client.create_deployment(
                flow_id,
                name=f"d{uuid4().hex[:6]}",
                enforce_parameter_schema=True,
                parameter_openapi_schema=fake_failover.parameters.model_dump(),
            )
        )


@pytest.fixture
def run_id(prefect_server):
    """Start a run that nobody executes."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(fake_failover, parameters={"target": "orders"}, state=Pending())
        client.set_flow_run_state(run.id, Running())
        return str(run.id)


def test_the_same_key_starts_one_run(runs, deployment):
    """However often the sweep asks, with the parameters of the dead run."""
    key = f"salvor-resume-{uuid4()}"
    parameters = {"target": "orders", "policy": {"rpo_bytes": 7}}
    first, second = (runs.start(deployment, parameters, key) for _ in range(2))

    assert first == second
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(first)
    assert (run.parameters, run.idempotency_key, str(run.deployment_id)) == (parameters, key, deployment)


def test_a_deployment_that_is_gone_is_said(runs):
    """Not something to try again for ever."""
    with pytest.raises(Unstartable, match="prefect deploy --all"):
        runs.start(str(uuid4()), {}, "k")


def test_parameters_that_are_not_taken_any_more_are_said(runs, deployment):
    """The form changed while the run was dead."""
    with pytest.raises(Unstartable):
        runs.start(deployment, {"target": "orders", "policy": {"max_attempts": 99}}, str(uuid4()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda runs, it: runs.crash(it, "no sign of life"), ("CRASHED", "Crashed", "no sign of life")),
        (lambda runs, it: runs.cancel(it), ("CANCELLED", "Cancelled", "Cancelled by a person.")),
        (lambda runs, it: runs.end(it, "Refused", "no", succeeded=False), ("FAILED", "Refused", "no")),
        (lambda runs, it: runs.end(it, "Recovered", "yes", succeeded=True), ("COMPLETED", "Recovered", "yes")),
    ],
)
@pytest.mark.parametrize("paused", [False, True])
def test_a_state_is_set_whatever_the_state_was(runs, run_id, change, expected, paused):
    """Running or waiting for an approval, once or twice."""
    if paused:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run_id, Paused(timeout_seconds=1), force=True)
    for _ in range(2):
        change(runs, run_id)

    kind, name, message = expected
    assert runs.standing(run_id) == Standing(kind=kind, name=name, message=message)


def test_a_crashed_run_can_still_be_told_its_end(runs, run_id):
    """The process was killed right after it had told the ledger."""
    runs.crash(run_id, "gone")
    runs.end(run_id, "Recovered", "it was done", succeeded=True)

    assert runs.standing(run_id).name == "Recovered"


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "not-an-id"])
def test_a_run_that_is_not_there_has_no_standing(runs, unknown):
    """It was deleted, or was never Prefect's."""
    assert runs.standing(unknown) is None


def test_an_event_is_taken(runs):
    """The server accepts what the receiver builds."""
    resource = {"prefect.resource.id": "recovery.postgres.orders"}
    event = {"event": "sentinel.primary.lost", "resource": resource, "payload": {}, "id": str(uuid4())}
    runs.post_event(event | {"occurred": "2026-11-22T03:00:00+00:00"})


def test_an_event_that_is_not_one_is_misconfigured(runs):
    """Sending it again would not help."""
    with pytest.raises(Misconfigured, match="422"):
        runs.post_event({"event": 7})


def test_a_server_that_is_down_is_transient_at_once(runs):
    """The sweep must not wait for Prefect's own retries."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(Transient, match="not answer"):
        runs.standing(str(uuid4()))
