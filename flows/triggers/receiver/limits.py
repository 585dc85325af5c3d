"""How much one caller may send: a token bucket per caller, and a body that is measured while it is read."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from typing import Any

from starlette.requests import ClientDisconnect, Request

LARGEST_BODY_BYTES = 1_048_576
BODY_SECONDS = 10.0
MOST_CALLERS = 10_000


class Rejection(Exception):  # noqa: N818 - an answer to the caller, not an error of ours
    """The caller gets STATUS and a sentence that says what to do; nothing was stored."""

    def __init__(self, status: int, sentence: str, *, retry_after: int = 0) -> None:
        """Answer with STATUS; RETRY_AFTER in seconds when trying again will help."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.retry_after = retry_after


class Buckets:
    """One bucket of BURST tokens per caller, refilled with PER_SECOND; the time enters as data."""

    def __init__(self, per_second: float, burst: int) -> None:
        """Start with full buckets."""
        self.per_second = per_second
        self.burst = burst
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, now: float, cost: float = 1.0) -> float:
        """Take COST tokens and return 0, or take nothing and return the seconds until it would work."""
        level, at = self._level.pop(caller, (float(self.burst), now))
        level = min(float(self.burst), level + max(0.0, now - at) * self.per_second)
        granted = level >= cost
        self._level[caller] = (level - cost if granted else level, now)
        while len(self._level) > MOST_CALLERS:
            self._level.popitem(last=False)
        return 0.0 if granted else (cost - level) / self.per_second

    def spend(self, caller: str, now: float, sentence: str) -> None:
        """Take a token or reject the call."""
        if (seconds := self.wait(caller, now)) > 0:
            raise Rejection(429, sentence, retry_after=math.ceil(seconds))


async def read_body(request: Request, largest: int = LARGEST_BODY_BYTES, seconds: float = BODY_SECONDS) -> bytes:
    """Read the body, and stop as soon as it is too long or too slow; what is announced is not trusted."""
    too_long = Rejection(413, f"The body is longer than {largest} bytes: send fewer alerts at a time.")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced[:20]) > largest:
        raise too_long
    chunks, length = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                length += len(chunk)
                if length > largest:
                    raise too_long
                chunks.append(chunk)
    except TimeoutError:
        raise Rejection(408, f"The body did not arrive within {seconds:g} s.", retry_after=1) from None
    except ClientDisconnect:
        raise Rejection(400, "The caller hung up before the body was complete.") from None
    return b"".join(chunks)


def parse(body: bytes) -> dict[str, Any]:
    """Read a JSON object that every ledger can keep."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise Rejection(400, f"The body is not JSON that can be kept ({str(error)[:120]}).") from None
    if not isinstance(value, dict):
        raise Rejection(400, "The body must be a JSON object.")
    if "\\u0000" in text:
        raise Rejection(400, "The body holds a NUL character, which no database keeps: leave it out.")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
