"""The form of a replay. Pure."""

from __future__ import annotations

from pydantic import Field

from tasks.model import Policy
from tasks.stripe.replay_state import Answer, Mode

EFFECTS = (
    "customer.subscription.created=grant-access",
    "customer.subscription.deleted=revoke-access",
    "invoice.paid=send-receipt",
    "invoice.payment_failed=send-reminder",
)


class ReplayPolicy(Policy):
    """Which events are brought to their effect, and how."""

    hours: float = Field(
        default=6, gt=0, le=24 * 365, description="How many hours back. Stripe keeps events for 720 hours (30 days)."
    )
    settle_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Leave events alone that are younger: Stripe is still delivering them the first time.",
    )
    types: tuple[str, ...] = Field(
        default=(), description="Only events of these types, e.g. invoice.paid. Empty: all types."
    )
    attempts: int = Field(
        default=5, ge=1, le=100, description="After so many failures an event is a dead letter: see stripe-requeue."
    )
    at_once: bool = Field(
        default=False,
        description="On: try at once what failed before and waits for its next attempt; for a person who has mended "
        "the cause. Off: wait for it, as long as wait_seconds says.",
    )
    mode: Mode = Field(
        default="apply",
        description="apply: look the object up and write it into the application's tables. post: send the event, "
        "signed anew, to the application's own endpoint.",
    )
    endpoint_url: str = Field(default="", description="For post: where the application takes webhooks.")
    answer_means: Answer = Field(
        default="received",
        description="For post: what a 2xx of the endpoint means. received: it has kept the event, and ends it in the "
        "table of events when it is done. done: it has handled the event; it knows nothing of that table.",
    )
    effects: tuple[str, ...] = Field(
        default=EFFECTS,
        description="What is entered in the table of effects, once for each event: type=effect, e.g. "
        "invoice.paid=send-receipt.",
    )
    max_events: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Refuse when more events than this would be replayed."
    )
    workers: int = Field(default=16, ge=1, le=64, description="How many objects are worked on at once.")
    wait_seconds: int = Field(
        default=30, ge=0, le=3600, description="How long to wait in all for events that are to be tried again."
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker: 0 allows a replay right after another."
    )
    timeout_seconds: int = Field(
        default=7200, ge=10, le=86_400, description="How many seconds the run may take, an approval not counted."
    )

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Give each type of event with an effect of it."""
        return tuple(sorted((kind, name) for kind, _, name in (each.partition("=") for each in self.effects)))
