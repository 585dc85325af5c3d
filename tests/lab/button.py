"""The Run button of the UI, for whoever has no hands."""

from __future__ import annotations

import time
from typing import Any

import httpx

PATIENCE_SECONDS, LOOK_SECONDS = 30.0, 0.05


def press_run(
    api: httpx.Client, procedure: str, parameters: dict[str, Any], deployment: str = "", *, validate: bool = True
) -> str:
    """Start a run of DEPLOYMENT (default: the procedure's own) with PARAMETERS; VALIDATE is the form's tick."""
    found = api.get(f"/deployments/name/{procedure}/{deployment or procedure}").raise_for_status()
    state = {"type": "SCHEDULED", "name": "Scheduled"}
    body = {"parameters": parameters, "state": state, "enforce_parameter_schema": validate}
    path = f"/deployments/{found.json()['id']}/create_flow_run"
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Prefect on SQLite answers 503 while another writer holds its database.
    while not (answer := api.post(path, json=body)).is_success and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return str(answer.raise_for_status().json()["id"])
