"""Bring events to their effect by the application's own endpoint, for an application that only speaks HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.errors import Misconfigured, Transient
from blocks.webhook_door import WebhookDoor, WebhookRefused
from tasks.stripe.replay_state import Event
from tasks.stripe.replay_work import Pass


class Posting:
    """Sends each event once in a run, signed anew over exactly the bytes that are sent."""

    least_pause = 0.5  #: seconds in which the application can get on with what it was sent

    def __init__(self, work: Pass) -> None:
        """Send for WORK, which also keeps the errors."""
        self._work = work
        self._sent: set[tuple[str, str]] = set()
        secrets = work.at.account.webhook_secrets
        if not secrets:
            raise Misconfigured(
                "There is no signing secret: add the endpoint's to webhook_secrets of the account's block."
            )
        self._secret = secrets[0].get_secret_value()

    def work(self, events: Sequence[Event]) -> None:
        """Send EVENTS in the order of their making; one that the application has is only waited for."""
        with WebhookDoor(self._work.plan.endpoint_url, self._secret) as door:
            for event in sorted(events, key=lambda e: (e.created, e.id)):
                if (event.account, event.id) not in self._sent:
                    self._send(door, event)

    def _send(self, door: WebhookDoor, event: Event) -> None:
        try:
            door.deliver(event.payload)
        except Transient as error:
            self._work.writer.failed([event], error, "transient")
        except WebhookRefused as error:
            self._work.writer.failed([event], error, "permanent", limit=1)
        else:
            self._sent.add((event.account, event.id))
            # Whoever keeps the table himself is still at it: to end his event now would be to lose its effects.
            if self._work.plan.answer_means == "done":
                self._work.writer.delivered(event)
