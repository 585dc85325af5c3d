"""What a work pool of type `responder` may set, and what its runs find around them."""

from __future__ import annotations

import os
import pkgutil
from pathlib import Path

from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings
from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field

import flows


def all_procedures() -> list[str]:
    """Name every module directly below flows/."""
    return [f"flows.{module.name}" for module in pkgutil.iter_modules(flows.__path__) if not module.ispkg]


def run_logs() -> Path:
    """Where the output of runs goes, a file for each."""
    path = Path(os.environ.get("SALVOR_RUN_LOGS") or get_current_settings().home / "responder")
    path.mkdir(parents=True, exist_ok=True)
    return path


class ResponderConfiguration(BaseJobConfiguration):
    """What a work pool or a deployment may set for a run."""

    preload: list[str] = Field(default_factory=list)


class ResponderVariables(BaseVariables):
    """The form of the work pool."""

    preload: list[str] = Field(
        default_factory=list,
        description="Modules that every run has imported before it starts; empty means all modules of flows/. "
        "Read when the responder starts.",
    )


def environment(configuration: ResponderConfiguration, flow_run: FlowRun) -> dict[str, str]:
    """Say what a run finds in its environment besides ours: the job's variables, and which run it is."""
    variables = {key: value for key, value in configuration.env.items() if value is not None}
    return variables | {"PREFECT__FLOW_RUN_ID": str(flow_run.id)}
