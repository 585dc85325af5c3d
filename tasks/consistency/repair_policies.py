"""What a person may set about a repair and its undo. Pure."""

from __future__ import annotations

from datetime import time
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from tasks.consistency.policies import RulesPolicy
from tasks.model import Frozen, Policy, number_fields

LIMITS = ("batch_ms", "max_lag_mb", "max_wal_mb_per_second", "max_writer_wait_ms", "abort_lag_mb")


def _limits_last(schema: dict[str, Any]) -> None:
    number_fields(schema)
    fields = schema.get("properties", {})
    for place, name in enumerate(LIMITS):
        fields[name]["position"] = 100 + place


class Limits(Frozen):
    """How gently rows are written, and when it stops."""

    batch_ms: float
    max_lag_mb: float
    max_wal_mb_per_second: float
    max_writer_wait_ms: float
    abort_lag_mb: float
    window_utc: str = ""


class RepairPolicy(RulesPolicy):
    """The form of consistency-repair."""

    model_config = ConfigDict(json_schema_extra=_limits_last)

    dry_run: bool = Field(
        default=True, description="On: look, and write the plan, but change nothing. Off: repair what the rules say."
    )
    max_rows: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Refuse when a rule would change more rows than this. A rule that finds very many is more often"
        " a wrong rule than broken data.",
    )
    max_share: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="Refuse when a rule would change more than this share of its table (0.01 is one in a hundred);"
        " tables below 10,000 rows are not asked.",
    )
    approve_above_rows: int = Field(
        default=1000, ge=0, description="Above so many rows in all, somebody other than you must approve the plan."
    )
    window_utc: str = Field(
        default="",
        description="Rows are changed only between these times, as 22:00-04:00 in UTC; empty: always.",
    )
    batch_ms: float = Field(
        default=50,
        ge=5,
        le=2000,
        description="How many milliseconds one batch of rows may take; rows are locked so long.",
    )
    max_lag_mb: float = Field(
        default=16, gt=0, description="Wait while a standby is more than so many megabytes of WAL behind."
    )
    max_wal_mb_per_second: float = Field(
        default=50, gt=0, description="Wait while the server writes more megabytes of WAL a second than this."
    )
    max_writer_wait_ms: float = Field(
        default=200, gt=0, description="Wait while a session of the application has waited for a lock longer than this."
    )
    abort_lag_mb: float = Field(
        default=1024, gt=0, description="Stop when a standby is more than so many megabytes of WAL behind."
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Refuse when a repair ended less than so many seconds ago. 0: at once."
    )
    timeout_seconds: int = Field(
        default=3600, ge=10, le=86_400, description="How many seconds the run may take, the approval not counted."
    )

    @field_validator("window_utc")
    @classmethod
    def _is_window(cls, value: str) -> str:
        within(value, time())
        return value

    @property
    def limits(self) -> Limits:
        """Give what the acts need of it."""
        return Limits(window_utc=self.window_utc, **{name: getattr(self, name) for name in LIMITS})


class UndoPolicy(Policy):
    """The form of consistency-undo."""

    run_id: str = Field(default="", description="Whose changes are given back: the id of a run of consistency-repair.")
    rules: tuple[str, ...] = Field(default=(), description="Only what these rules changed; empty: all of it.")
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Refuse when an undo ended less than so many seconds ago. 0: at once."
    )
    timeout_seconds: int = Field(
        default=3600, ge=10, le=86_400, description="How many seconds the run may take, the approval not counted."
    )


def within(window: str, now: time) -> bool:
    """Whether a time of the day is in the window; a ValueError when the window cannot be read."""
    if not window.strip():
        return True
    try:
        begin, end = (time.fromisoformat(each.strip()) for each in window.split("-"))
    except ValueError:
        raise ValueError("a window is two times of the day, as 22:00-04:00") from None
    return begin <= now < end if begin <= end else now >= begin or now < end
