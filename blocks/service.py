"""What uses a database, and how it is stopped, started and asked whether it works."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from blocks.node_control import LocalControl, NodeControl


class Service(BaseModel):
    """Something that uses the database: it is stopped before a restore and started after it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=63, description="Name of the service, for sentences.")
    control: NodeControl = Field(default_factory=LocalControl)
    stop: str = Field(default="", description="Command that stops it; empty: it is left running, and its pooler held.")
    start: str = Field(
        default="",
        description="Command that starts it, and then ends; it does nothing when it runs, e.g. `systemctl start shop`.",
    )
    healthy: str = Field(
        default="",
        description="Command that ends with 0 when it works, e.g. `curl -fsS http://127.0.0.1:8000/health`; the next "
        "service is started only then.",
    )
    healthy_seconds: int = Field(default=60, ge=1, le=3600, description="How many seconds it is given to work.")

    @model_validator(mode="after")
    def _comes_back(self) -> Self:
        if self.stop and not self.start:
            raise ValueError(f"{self.name} would stay stopped: give the command that starts it, or none that stops it.")
        return self
