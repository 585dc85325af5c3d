"""The forms of the Stripe procedures that compare: what is looked at, and how much may change. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.model import Policy

Table = Literal["customers", "subscriptions", "invoices", "payments"]
EVERY_TABLE: tuple[Table, ...] = ("customers", "subscriptions", "invoices", "payments")


class ResyncPolicy(Policy):
    """What is compared with Stripe, and what may be repaired."""

    dry_run: bool = Field(
        default=True, description="On: compare, write the report and the differences, change nothing. Off: repair."
    )
    objects: tuple[Table, ...] = Field(
        default=EVERY_TABLE,
        min_length=1,
        description="What is compared: customers, subscriptions, invoices, payments (with their charges).",
    )
    since_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Compare only what Stripe made in the last so many days. 0: everything there is.",
    )
    missing: Literal["insert", "report"] = Field(
        default="insert", description="What Stripe has and we do not. insert: add the row. report: only list it."
    )
    deleted: Literal["tombstone", "report"] = Field(
        default="tombstone",
        description="What we have and Stripe, asked for it by its id, has not. tombstone: note when it was found "
        "gone; no row is ever deleted. report: only list it.",
    )
    duplicates: Literal["report", "repair"] = Field(
        default="report",
        description="Several users with the same Stripe customer. report: list them. repair: keep it with the one who "
        "owns live subscriptions and take it from the others; a person must approve that.",
    )
    max_changes: int = Field(
        default=10_000, ge=0, le=100_000_000, description="Refuse to change more rows than this; nothing is changed."
    )
    vanish_rows: int = Field(
        default=100,
        ge=0,
        description="Refuse when more rows than this would be marked as gone: then it is rather the wrong key.",
    )
    vanish_percent: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Refuse when more than this part of a table would be marked as gone (five rows may always be).",
    )
    alert_on_drift: bool = Field(
        default=False, description="Tell on-call when a dry run finds differences: for the nightly one."
    )
    workers: int = Field(default=16, ge=1, le=64, description="How many requests to Stripe may be under way at once.")
    timeout_seconds: int = Field(
        default=7200,
        ge=10,
        le=86_400,
        description="How many seconds the run may take, the wait for an approval not counted. At Stripe's limit a "
        "million objects of one kind take seven minutes.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker: 0 allows a resync right after another."
    )


class UndoPolicy(Policy):
    """What is given back."""

    run_id: str = Field(
        default="",
        description="Id of the run whose changes are given back: it is in the address of the run in the UI, and in "
        "salvor.stripe_changes.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker: 0 allows an undo right after another."
    )
