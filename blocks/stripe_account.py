"""The Stripe account that a SaaS is paid through: its keys, the pinned API version, and which account it must be."""

from __future__ import annotations

import ipaddress
from typing import Literal, Self
from urllib.parse import urlsplit

import stripe
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, model_validator

from blocks.addresses import HttpUrl

#: What Stripe allows an account by default (docs.stripe.com/rate-limits), and each of its endpoints.
ACCOUNT_REQUESTS_PER_SECOND = {True: 100, False: 25}
ENDPOINT_REQUESTS_PER_SECOND = 25
LIVE_KEYS, TEST_KEYS = ("sk_live_", "rk_live_"), ("sk_test_", "rk_test_")


class StripeAccount(Block):
    """A Stripe account, read by Salvor at one pinned version and within a share of its rate limit."""

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor Stripe account"
    _block_type_slug = "salvor-stripe-account"
    _description = "A Stripe account: its key, the account it must be, the pinned version, and the database it fills."

    secret_key: SecretStr = Field(
        description="Secret key (sk_live_… or sk_test_…), or better a restricted one (rk_…) that may read customers, "
        "subscriptions, invoices, payments, charges and events, also the thin ones (v2). Salvor never writes to Stripe."
    )
    account: str = Field(
        pattern="^acct_[A-Za-z0-9]+$",
        description="Id of the account that the key must belong to (acct_…); another one is refused before anything.",
    )
    livemode: bool = Field(description="On: live mode, real money. Off: a sandbox. Key and objects must agree.")
    database: str = Field(
        min_length=1, description="Name of the AppDatabase block of the application that this account pays for."
    )
    webhook_secrets: list[SecretStr] = Field(
        default_factory=list, description="Signing secrets of the webhook endpoints (whsec_…), the newest first."
    )
    api_version: str = Field(
        default=stripe.api_version,
        min_length=1,
        description="API version that Salvor asks for, whatever the account's own default is.",
    )
    connected_accounts: list[str] = Field(
        default_factory=list,
        description="Connected accounts (acct_…) whose events are handled and whose objects are compared too: "
        "all those whose objects are in the database. Empty: none.",
    )
    rate_share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Share of the account's rate limit that Salvor may use; the rest is for the application.",
    )
    requests_per_second: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="What Stripe allows the whole account; 0: what it documents, 100 in live mode and 25 in a sandbox.",
    )
    endpoint_requests_per_second: int = Field(
        default=ENDPOINT_REQUESTS_PER_SECOND, ge=1, le=1_000_000, description="What Stripe allows one endpoint."
    )
    api_base: HttpUrl | Literal[""] = Field(
        default="", description="Leave it empty. Only a fake Stripe on this machine has another address."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        key = self.secret_key.get_secret_value()
        right, wrong = (LIVE_KEYS, TEST_KEYS) if self.livemode else (TEST_KEYS, LIVE_KEYS)
        mode = "live mode" if self.livemode else "a sandbox"
        if key.startswith(wrong):
            raise ValueError(f"the key is of the other mode: this account is in {mode} and needs {' or '.join(right)}…")
        if not key.startswith(right):
            raise ValueError(f"secret_key does not begin with {' or '.join(right)}")
        if self.api_base and not _on_this_machine(self.api_base):
            raise ValueError("api_base is only for a fake Stripe on 127.0.0.1: leave it empty to reach Stripe.")
        return self

    @property
    def account_rate(self) -> float:
        """How many requests per second Salvor may make in all."""
        return (self.requests_per_second or ACCOUNT_REQUESTS_PER_SECOND[self.livemode]) * self.rate_share


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
