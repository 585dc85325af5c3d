"""The Prefect server goes away in the middle: the recovery goes on, and its end is told later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.ledger import orphans, runs
from blocks.ledger.schema import runs as run_table
from flows.triggers.sweep.sweeper import Sweeper
from tests.flows.door import Door
from tests.flows.fakes import fake_failover

FORWARD = ["pause", "fence", "promote", "route"]


@pytest.fixture
def door(saved):
    """Put a door between the flow and the server."""
    url = urlsplit(PREFECT_API_URL.value())
    it = Door(url.port)
    address = f"http://127.0.0.1:{it.port}{url.path}"
    with temporary_settings({PREFECT_API_URL: address, PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield it
    it.shut()


def end_long_ago(ledger):
    past = datetime.now(UTC) - timedelta(hours=1)
    with ledger.begin() as connection:
        connection.execute(run_table.update().values(ended_at=past))


@pytest.mark.parametrize("moment", ["between", "after"])
def test_a_server_that_goes_away_loses_nothing(saved, patient, door, moment):
    """All acts are done, the ledger holds outcome and report; the sweep shows both once the server is back."""
    patient.wrong[moment] = door.shut
    with pytest.raises(httpx.HTTPError):
        fake_failover("orders")

    row = runs.history(saved)[0]
    assert (row.outcome, patient.done) == ("Recovered", FORWARD)
    assert (row.reported_at, row.settled_at) == (None, None)

    end_long_ago(saved)
    assert Sweeper(saved).turn().settled == 0
    door.reopen()
    assert Sweeper(saved).turn().settled == 1

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(row.flow_run_id).state
        shown = [a.data for a in client.read_artifacts() if str(a.flow_run_id) == row.flow_run_id]
    assert (state.type, state.name, state.message) == ("COMPLETED", "Recovered", row.why)
    assert row.markdown in shown
    assert orphans.unsettled(saved) == []
    assert Sweeper(saved).turn().settled == 0
