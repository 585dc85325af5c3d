"""What a person may set about a look at the rows. Pure."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tasks.model import Policy


class RulesPolicy(Policy):
    """Which rules are looked at."""

    pack: str = Field(default="", description="The name of the RulePack block; empty: it has the name of the target.")
    rules: tuple[str, ...] = Field(default=(), description="Only these rules, by their names; empty: all of the pack.")
    max_replica_lag_seconds: float = Field(
        default=30,
        ge=0,
        description="How many seconds the standby of the pack, if it has one, may need to show what the database"
        " shows now. Past that the run is refused.",
    )


class CheckPolicy(RulesPolicy):
    """The form of consistency-check."""

    looks: ClassVar[bool] = True

    dry_run: bool = Field(default=False, description="It makes no difference here: this changes nothing anyway.")
    alert: bool = Field(
        default=True,
        description="Tell on-call when more rows are wrong than at the last look, or a rule cannot be looked at.",
    )
    timeout_seconds: int = Field(
        default=3600, ge=10, le=86_400, description="How many seconds the look may take in all."
    )


class SuggestPolicy(Policy):
    """The form of consistency-suggest."""

    looks: ClassVar[bool] = True

    dry_run: bool = Field(default=False, description="It makes no difference here: this changes nothing anyway.")
    pack: str = Field(
        default="",
        description="The name of the RulePack block whose rules are not proposed again; empty: that of the target, if"
        " there is one.",
    )
    tables: tuple[str, ...] = Field(default=(), description="Only these tables; empty: all of the schema.")
    sample_rows: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="About how many rows are looked at for each proposal, to see whether they point to something; 0:"
        " none.",
    )
    sample_seconds: float = Field(
        default=2, gt=0, le=300, description="How many seconds that may take for each; past that only its name counts."
    )
    samples_seconds: float = Field(
        default=120, gt=0, le=86_400, description="How many seconds it may take for all of them together."
    )
    most_missing_percent: float = Field(
        default=50,
        ge=0,
        le=100,
        description="A column is not proposed when more of its rows than that point to nothing: it means something"
        " else.",
    )
    timeout_seconds: int = Field(default=900, ge=10, le=86_400, description="How many seconds the run may take in all.")
