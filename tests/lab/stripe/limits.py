"""Stripe's rate limits: a bucket for each endpoint of an account, and one for the account."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.stripe.refusal import too_many


@dataclass
class Bucket:
    """Holds a second's worth of requests, and fills at the rate."""

    rate: float
    now: Callable[[], float]
    level: float = 0
    filled_at: float = field(default=0.0)

    def __post_init__(self) -> None:
        """Start full."""
        self.level, self.filled_at = self.rate, self.now()

    def take(self) -> bool:
        """Take one, if there is one."""
        moment = self.now()
        self.level = min(self.rate, self.level + (moment - self.filled_at) * self.rate)
        self.filled_at = moment
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Limits:
    """What may be asked of an endpoint and of an account in a second; 0 is without limit."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Start without limits."""
        self._now = now
        self.set()

    def set(
        self,
        per_endpoint: float = 0,
        per_account: float = 0,
        *,
        retry_after: float | None = None,
        reasons: bool = True,
    ) -> None:
        """Choose the limits, and what a refusal says."""
        self.per_endpoint, self.per_account = per_endpoint, per_account
        self.retry_after, self.reasons = retry_after, reasons
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit(self, account: str, endpoint: str) -> None:
        """Let a request in, or refuse it."""
        for name, rate, reason in (
            ("", self.per_account, "global-rate"),
            (endpoint, self.per_endpoint, "endpoint-rate"),
        ):
            if rate and not self._bucket(account, name, rate).take():
                raise too_many(reason, self.retry_after, reasons=self.reasons)

    def _bucket(self, account: str, name: str, rate: float) -> Bucket:
        key = (account, name)
        if key not in self._buckets:
            self._buckets[key] = Bucket(rate, self._now)
        return self._buckets[key]
