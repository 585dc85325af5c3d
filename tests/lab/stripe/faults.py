"""What goes wrong on purpose."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.lab.stripe.limits import Limits
from tests.lab.stripe.refusal import StripeRefusal, broken, lock_timeout, not_permitted, too_many, wrong_key

#: Faults that are an answer.
ANSWERS = {
    "500": lambda: broken(500),
    "503": lambda: broken(503),
    "lock_timeout": lock_timeout,
    "429": lambda: too_many("global-rate", None),
    "401": lambda: wrong_key("sk_test_expired"),
    "403": lambda: not_permitted("acct_", "rak_read"),
}
#: Faults of the connection: none at all, closed before or within the answer, answered late, answered by a proxy.
OTHERS = ("cut", "cut_body", "slow", "html")


@dataclass
class Planned:
    """A fault for the next requests to an endpoint."""

    kind: str
    endpoint: str
    times: int
    after: int
    seconds: float

    def strikes(self, endpoint: str) -> bool:
        """Tell whether this request is the one."""
        if self.times <= 0 or self.endpoint not in endpoint:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Faults:
    """All faults that are switched on."""

    latency_seconds: float = 0
    flaky: float = 0  #: the share of requests that fail, at random, with one of FLAKY_KINDS
    flaky_kinds: tuple[str, ...] = ("500", "cut", "lock_timeout", "429", "cut_body")
    flaky_seed: int = 0
    mutate_while_listed: int = 0  #: how many things happen before each page is answered
    planned: list[Planned] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    chance: random.Random = field(default_factory=random.Random)

    def set(self, **given: Any) -> None:
        """Switch faults on or off; what is not named stays."""
        limits = {
            "per_endpoint": given.pop("rate_per_endpoint", self.limits.per_endpoint),
            "per_account": given.pop("rate_per_account", self.limits.per_account),
            "retry_after": given.pop("retry_after", self.limits.retry_after),
            "reasons": given.pop("reasons", self.limits.reasons),
        }
        for name, value in given.items():
            if name not in ("latency_seconds", "flaky", "flaky_kinds", "flaky_seed", "mutate_while_listed"):
                raise ValueError(f"There is no fault {name!r}.")
            setattr(self, name, value)
        if "flaky_seed" in given:
            self.chance.seed(self.flaky_seed)
        self.limits.set(**limits)

    def plan(self, kind: str, endpoint: str = "", *, times: int = 1, after: int = 0, seconds: float = 1.0) -> None:
        """Let the next TIMES requests to ENDPOINT (a part of `GET /v1/…`) fail, from the one AFTER that many on."""
        if kind not in ANSWERS and kind not in OTHERS:
            raise ValueError(f"There is no fault {kind!r}; there are {', '.join((*ANSWERS, *OTHERS))}.")
        self.planned.append(Planned(kind, endpoint, times, after, seconds))

    def strike(self, endpoint: str) -> Planned | None:
        """Choose the fault of a request; one that is an answer is raised."""
        found = next((each for each in self.planned if each.strikes(endpoint)), None)
        self.planned = [each for each in self.planned if each.times > 0]
        if found is None and self.flaky and self.chance.random() < self.flaky:
            found = Planned(self.chance.choice(list(self.flaky_kinds)), "", 0, 0, 0.5)
        if found is not None and found.kind in ANSWERS:
            raise _refusal(found.kind)
        return found


def _refusal(kind: str) -> StripeRefusal:
    return ANSWERS[kind]()
