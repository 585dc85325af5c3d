"""Stripe's own errors, as bodies, states and headers."""

from __future__ import annotations

from typing import Any

import orjson


class StripeRefusal(Exception):  # noqa: N818 - the fake refuses; nothing is wrong with it
    """An answer that is an error."""

    def __init__(  # noqa: PLR0913 - the fields of Stripe's error object
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str = "",
        param: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep what the answer says."""
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.headers = headers or {}

    def body(self) -> bytes:
        """Write it as Stripe does."""
        error: dict[str, Any] = {"message": self.message, "type": self.kind}
        if self.code:
            error |= {"code": self.code, "doc_url": f"https://stripe.com/docs/error-codes/{self.code}"}
        if self.param:
            error["param"] = self.param
        return orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2)


def missing(kind: str, name: str, param: str = "id", status: int = 404) -> StripeRefusal:
    """No object has this id."""
    return StripeRefusal(status, f"No such {kind}: '{name}'", code="resource_missing", param=param)


def unknown_path(method: str, path: str) -> StripeRefusal:
    """Nothing is at this address."""
    return StripeRefusal(
        404,
        f"Unrecognized request URL ({method.upper()}: {path}). Please see https://stripe.com/docs or we can help at"
        " https://support.stripe.com/.",
    )


def wrong_key(key: str) -> StripeRefusal:
    """Nobody has this key."""
    shown = f"{key[:8]}{'*' * 12}{key[-4:]}" if key else ""
    said = f"Invalid API Key provided: {shown}" if key else "You did not provide an API key."
    return StripeRefusal(401, said)


def not_permitted(account: str, permission: str) -> StripeRefusal:
    """A restricted key was not given this right."""
    return StripeRefusal(
        403,
        f"The provided key does not have the required permissions for this endpoint on account '{account}'."
        f" Having the '{permission}' permission would allow this request to continue.",
        code="more_permissions_required_for_application",
    )


def too_many(reason: str, retry_after: float | None, *, reasons: bool = True) -> StripeRefusal:
    """One of the rate limits is reached."""
    headers = {"stripe-rate-limited-reason": reason} if reasons else {}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return StripeRefusal(429, "Request rate limit exceeded.", code="rate_limit", headers=headers)


def lock_timeout() -> StripeRefusal:
    """Another request holds the object."""
    return StripeRefusal(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently accessing"
        " it. If you see this error intermittently, retry the request.",
        code="lock_timeout",
        headers={"stripe-should-retry": "true"},
    )


def broken(status: int = 500) -> StripeRefusal:
    """Stripe itself has trouble."""
    return StripeRefusal(status, "An unknown error occurred", kind="api_error")
