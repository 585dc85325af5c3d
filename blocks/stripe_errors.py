"""What Stripe's refusals mean for a run: try again later, give this one thing up, or stop everything."""

from __future__ import annotations

from typing import Any

import stripe

from blocks.errors import Misconfigured, SalvorError, Transient

UNKNOWN, FORBIDDEN = 401, 403
TOO_MANY, CONFLICT, NOT_FOUND, SERVER_ERROR = 429, 409, 404, 500
LOCK_TIMEOUT = "lock_timeout"
REASON, RETRY_AFTER = "Stripe-Rate-Limited-Reason", "Retry-After"


class StripeBusy(Transient):
    """Stripe could not answer now: asking again, later, is safe."""

    code = 60

    def __init__(self, message: str = "", *, limited: bool = False, reason: str = "", pause: float = 0.0) -> None:
        """Keep whether the rate limit was the cause, which one, and how long Stripe asked to wait."""
        super().__init__(message)
        self.limited, self.reason, self.pause = limited, reason, pause


class StripeStopped(Misconfigured):
    """Stripe does not accept this key, or it is another account or mode: nothing may go on."""

    code = 61


class StripeForbidden(StripeStopped):
    """Stripe knows this key, and it lacks a right."""

    code = 64


class StripeRefused(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """Stripe refuses this one request for good: repeating it will not help."""

    code = 62


class StripeMissing(StripeRefused):
    """Stripe does not have this object (any more)."""

    code = 63


def ours(error: stripe.StripeError) -> SalvorError:
    """Translate an error of the SDK. Its `code` is None on 401, 403 and 429, so the body is asked."""
    status, code = error.http_status or 0, code_of(error)
    said = _said(error, status, code)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError) or status in (UNKNOWN, FORBIDDEN):
        kind = StripeForbidden if status == FORBIDDEN else StripeStopped
        return kind(f"Stripe does not let this key in ({said}). Correct the StripeAccount block.")
    if isinstance(error, stripe.RateLimitError) or status == TOO_MANY:
        limited = code != LOCK_TIMEOUT
        return StripeBusy(
            f"Stripe asks to wait ({said}).", limited=limited, reason=header(error, REASON), pause=pause_of(error)
        )
    if isinstance(error, stripe.APIConnectionError):
        cut: type[SalvorError] = StripeBusy if error.should_retry else StripeStopped
        return cut(f"Stripe could not be reached ({said}).")
    if code == "resource_missing":  # 404 of the object itself; 400 of the one behind which a list was to go on
        return StripeMissing(f"Stripe does not have this object ({said}).")
    if status == CONFLICT or status >= SERVER_ERROR or isinstance(error, stripe.APIError):
        return StripeBusy(f"Stripe had trouble ({said}).", pause=pause_of(error))
    return StripeRefused(f"Stripe refused the request ({said}).")


def code_of(error: stripe.StripeError) -> str:
    """Give the code in the error's body."""
    body: Any = error.json_body
    inner = body.get("error") if isinstance(body, dict) else None
    found = inner.get("code") if isinstance(inner, dict) else None
    return str(found or error.code or "")


def header(error: stripe.StripeError, name: str) -> str:
    """Give a header of the answer, however it was spelt; empty when it was not sent."""
    headers = error.headers or {}
    return next((str(value) for key, value in headers.items() if key.lower() == name.lower()), "")


def pause_of(error: stripe.StripeError) -> float:
    """Give the seconds that Retry-After asks for; it may also be a date, which nobody sends."""
    try:
        return max(0.0, float(header(error, RETRY_AFTER)))
    except ValueError:
        return 0.0


def _said(error: stripe.StripeError, status: int, code: str) -> str:
    text = " ".join((error.user_message or str(error) or type(error).__name__).split())[:300]
    words = [str(status or ""), code, text, f"request {error.request_id}" if error.request_id else ""]
    return ", ".join(word for word in words if word)
