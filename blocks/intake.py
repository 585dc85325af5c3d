"""The secrets by which the receiver knows its callers."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr, model_validator

SHORTEST = 16


class Intake(Block):
    """Who may tell Salvor something: bearer tokens and signing secrets of the receiver."""

    _block_type_name = "Salvor Intake"
    _block_type_slug = "salvor-intake"
    _description = (
        "Bearer tokens and signing secrets of the receiver: Alertmanager, Grafana, PagerDuty, your own scripts."
    )

    bearer_token: SecretStr = Field(
        description="Token of Alertmanager and Grafana (`Authorization: Bearer ...`), at least 16 characters."
        " It also serves for requests and metrics while these have none of their own."
    )
    operator_token: SecretStr = Field(
        default=SecretStr(""),
        description="Token of people and scripts for /recover, /hold and /lift; empty: `bearer_token`."
        " Give it one of its own, so that an alerting system cannot ask for a recovery by name.",
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="Token of Prometheus for /metrics; empty: `bearer_token`."
    )
    pagerduty_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="Signing secrets of the PagerDuty V3 webhook subscriptions; one per subscription, or old and new"
        " while one is being changed. Empty: /hooks/pagerduty refuses everything.",
    )
    grafana_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="HMAC secrets of Grafana contact points; with one Grafana may sign instead of sending a token.",
    )
    generic_secrets: list[SecretStr] = Field(
        default_factory=list,
        description="HMAC secrets of your own sources for /hooks/generic. Empty: /hooks/generic refuses everything.",
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        optional = [s for s in (self.operator_token, self.metrics_token) if s.get_secret_value()]
        given = [self.bearer_token, *optional, *self.pagerduty_secrets, *self.grafana_secrets, *self.generic_secrets]
        if any(len(s.get_secret_value()) < SHORTEST for s in given):
            raise ValueError(
                f"a token or secret is shorter than {SHORTEST} characters: make one with `openssl rand -hex 24`"
            )
        return self

    @property
    def alerts(self) -> list[str]:
        """Tokens that may deliver alerts."""
        return [self.bearer_token.get_secret_value()]

    @property
    def operators(self) -> list[str]:
        """Tokens that may ask for a recovery, place a hold and see the runs."""
        return [(self.operator_token.get_secret_value() or self.bearer_token.get_secret_value())]

    @property
    def scrapers(self) -> list[str]:
        """Tokens that may read the metrics."""
        return [(self.metrics_token.get_secret_value() or self.bearer_token.get_secret_value())]


def revealed(secrets: list[SecretStr]) -> list[str]:
    """Return the secrets in the clear, for computing a signature."""
    return [s.get_secret_value() for s in secrets]
