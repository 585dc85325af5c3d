"""An application's webhook endpoint, called as Stripe calls it: the exact bytes, signed anew."""

from __future__ import annotations

from typing import Self

import httpx
import stripe

from blocks.errors import SalvorError, Transient

TOO_MANY, SERVER_ERROR = 429, 500
ANSWER_SECONDS = 20.0


class WebhookRefused(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """The application refuses this event for good."""

    code = 65


class WebhookDoor:
    """Delivers events to one address; may be used by many threads at once."""

    def __init__(self, url: str, secret: str) -> None:
        """Sign with SECRET; an old signature would be refused after five minutes, so each one is fresh."""
        self.url, self._secret = url, secret
        self._http = httpx.Client(timeout=ANSWER_SECONDS)

    def __enter__(self) -> Self:
        """Be ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._http.close()

    def deliver(self, payload: str) -> None:
        """Post PAYLOAD; any 2xx means that the application has it."""
        signature = stripe.WebhookSignature.generate_signature_header(payload, self._secret)
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json; charset=utf-8"}
        try:
            answer = self._http.post(self.url, content=payload.encode(), headers=headers)
        except httpx.HTTPError as error:
            raise Transient(f"{self.url} did not answer ({type(error).__name__}).") from error
        if answer.is_success:
            return
        said = f"{self.url} answered {answer.status_code}: {answer.text[:200]}"
        if answer.status_code in (TOO_MANY, 408, 409) or answer.status_code >= SERVER_ERROR:
            raise Transient(said)
        raise WebhookRefused(said)
