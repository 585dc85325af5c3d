"""Stripe, only ever read: the SDK as it is for keys, versions and errors, and the bodies of its answers untouched.

The SDK builds objects at a thousand a second; here a page stays bytes until somebody takes the five
fields out of it that he needs. `GetOnly` is the SDK's own HTTP client behind its own interface.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from threading import Event, Lock
from typing import Any, Self

import stripe
import urllib3  # what the SDK speaks HTTP with
from pydantic import TypeAdapter, ValidationError

from blocks.errors import Transient
from blocks.stripe_account import StripeAccount
from blocks.stripe_errors import StripeBusy, StripeRefused, StripeStopped, ours
from blocks.stripe_limits import RateLimiter

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
BASE_SECONDS, CAP_SECONDS = 0.5, 20.0
ATTEMPTS = 8
PATIENCE_SECONDS = 120.0  #: a Retry-After beyond it ends the run instead


class GetOnly(stripe.RequestsClient):
    """The SDK's HTTP client; it sends nothing but GET, and keeps the body of a good answer for us."""

    def request(  # type: ignore[override]  # as the SDK's own RequestsClient, which this is
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,  # noqa: ANN401 - as in the SDK
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send a GET, and give the SDK the status, the headers and, when it is an error, the body."""
        if method.lower() != "get":
            raise StripeStopped(f"A {method.upper()} to Stripe was about to be sent: Salvor only reads there.")
        raw, status, got = self.request_stream(method, url, headers, post_data)
        body = _read(raw)
        if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            self._thread_local.body = body
            return b"{}", status, got
        return body, status, got

    def body(self) -> bytes:
        """Give the body of the last good answer of this thread."""
        body: bytes = self._thread_local.body
        return body


class StripeApi:
    """One account, asked within its limits; may be used by many threads at once."""

    def __init__(self, block: StripeAccount, *, on_behalf_of: str = "", limiter: RateLimiter | None = None) -> None:
        """Speak to the account of BLOCK, or ON_BEHALF_OF one that is connected to it."""
        self.block, self.on_behalf_of = block, on_behalf_of
        self.limiter = limiter or RateLimiter(block.account, block.account_rate, block.endpoint_requests_per_second)
        self.stopped = Event()
        self.requests = self.refusals = 0
        self.latency = 0.0  #: seconds an answer takes, lately
        self._lock = Lock()
        self._http = GetOnly(timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
        self._client = stripe.StripeClient(
            block.secret_key.get_secret_value(),
            stripe_version=block.api_version,
            max_network_retries=0,  # a 429 the SDK would not repeat, and the limiter must hear of each
            http_client=self._http,
            base_addresses={"api": block.api_base} if block.api_base else {},
        )

    def __enter__(self) -> Self:
        """Be ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._http.close()  # type: ignore[no-untyped-call]  # the SDK's
        self.limiter.close()

    def confirm(self) -> None:
        """Make sure that the key belongs to the account that the block names; comes before anything else."""
        wanted = self.on_behalf_of or self.block.account
        found = _ID.validate_json(self.get("/v1/account"))["id"]
        if found != wanted:
            raise StripeStopped(
                f"The key belongs to {found}, and the block says {wanted}: correct the StripeAccount block."
            )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """Read PATH and give the body; what may pass is tried again, with full jitter and never before Retry-After."""
        for attempt in range(ATTEMPTS):
            self._breathe(0)
            self.limiter.wait(endpoint_of(path))
            try:
                return self._asked(path, params or {})
            except StripeBusy as error:
                self._note_refusal(path, error)
                if attempt == ATTEMPTS - 1 or error.pause > PATIENCE_SECONDS:
                    raise
                self._breathe(max(error.pause, backoff(attempt)))
        raise AssertionError  # the last attempt has raised

    def read(self, path: str, shape: TypeAdapter[Any], params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - what the shape says
        """Read PATH and take out of the body what SHAPE names."""
        body = self.get(path, params)
        try:
            return shape.validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise StripeRefused(
                f"Stripe's answer to {path} has not the shape of version {self.block.api_version}"
                f" ({where}: {first['msg']}). Correct api_version in the StripeAccount block."
            ) from error

    def _asked(self, path: str, params: Mapping[str, Any]) -> bytes:
        # The second version of the API knows connected accounts by another name.
        header = "stripe_context" if path.startswith("/v2/") else "stripe_account"
        options = {header: self.on_behalf_of} if self.on_behalf_of else {}
        begun = time.monotonic()
        try:
            self._client.raw_request("get", path, **params, **options)
        except stripe.StripeError as error:
            raise ours(error) from error
        finally:
            with self._lock:
                self.requests += 1
                self.latency += (time.monotonic() - begun - self.latency) * (0.1 if self.latency else 1)
        return self._http.body()

    def _note_refusal(self, path: str, error: StripeBusy) -> None:
        with self._lock:
            self.refusals += error.limited
        if error.limited:
            self.limiter.slow(endpoint_of(path), error.reason, error.pause)

    def _breathe(self, seconds: float) -> None:
        if self.stopped.wait(seconds) if seconds else self.stopped.is_set():
            raise Transient("Stripe is no longer asked, because the run stops.")


def _read(raw: urllib3.BaseHTTPResponse) -> bytes:
    """Read a body by one call: each small read of the SDK's own loop would wait for all other threads."""
    try:
        return raw.read(decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError) as error:  # cut off in its middle, it is no answer either
        cut = f"The answer was cut short: {error}"
        raise stripe.APIConnectionError(cut, should_retry=True) from error  # type: ignore[no-untyped-call]  # the SDK's


def backoff(attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
    """Give the seconds to wait before trying again: full jitter."""
    return uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2**attempt))


def endpoint_of(path: str) -> str:
    """Name the endpoint of PATH, as Stripe counts: all ids of a kind are one."""
    parts = path.partition("?")[0].strip("/").split("/")
    place = 3 if parts[0] == "v2" else 2  # /v2/core/kind/id, /v1/kind/id
    return "/".join(part if number != place else "{id}" for number, part in enumerate(parts))


_ID: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
