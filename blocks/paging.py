"""Who is told: any service Apprise knows, and PagerDuty through its own client."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.errors import Misconfigured, SalvorError, Transient
from blocks.ledger.records import Notification

PAGERDUTY = "pagerduty"
PAGERDUTY_SECONDS = 10
ALREADY_TOLD = 429
REFUSED = range(400, 500)


class Paging(Block):
    """Where notifications go; a route that fails is tried again, and never holds up a recovery."""

    _block_type_name = "Salvor paging"
    _block_type_slug = "salvor-paging"
    _description = "Where Salvor's notifications go: Apprise URLs (Slack, e-mail, …) and PagerDuty."

    urls: list[SecretStr] = Field(
        default_factory=list,
        description="Apprise URLs, e.g. slack://…, mailto://…, json://host/path; each gets every notification.",
    )
    pagerduty_routing_key: SecretStr | None = Field(
        default=None, description="Integration key of a PagerDuty service (Events API v2); it gets the pages only."
    )
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com",
        pattern="^https://",
        description="Address of PagerDuty's Events API; https://events.eu.pagerduty.com in the EU.",
    )

    def routes(self, note: Notification) -> list[str]:
        """Name the ways NOTE must go; a name says nothing of the secret behind it."""
        names = [_name(url) for url in self.urls]
        if self.pagerduty_routing_key is not None and (note.urgency == "page" or note.resolves):
            names.append(PAGERDUTY)
        return names

    def send(self, route: str, note: Notification) -> None:
        """Send NOTE by one route. A route that was taken out of the block since is Misconfigured."""
        if route == PAGERDUTY and self.pagerduty_routing_key is not None:
            _page(self.pagerduty_routing_key.get_secret_value(), self.pagerduty_url, note)
            return
        for url in self.urls:
            if _name(url) == route:
                _apprise(url.get_secret_value(), note)
                return
        raise Misconfigured(f"The block `paging` has no route {route} any more.")


def _name(url: SecretStr) -> str:
    secret = url.get_secret_value()
    return f"{secret.partition('://')[0]}-{sha256(secret.encode()).hexdigest()[:8]}"


def _apprise(url: str, note: Notification) -> None:
    import apprise  # noqa: PLC0415  # 0.3 s that only the one who sends should pay

    kind = apprise.NotifyType.FAILURE if note.urgency == "page" else apprise.NotifyType.INFO
    target = apprise.Apprise()
    if not target.add(url):
        raise Misconfigured("An Apprise URL in the block `paging` is not valid; see github.com/caronc/apprise.")
    body = "\n\n".join(part for part in (note.body, note.url) if part)
    format_ = apprise.NotifyFormat.MARKDOWN
    if not target.notify(body=body, title=note.title, notify_type=kind, body_format=format_):
        raise Transient(f"A notification by {url.partition('://')[0]} was not taken.")


def _page(key: str, url: str, note: Notification) -> None:
    from pagerduty import Error, EventsApiV2Client  # noqa: PLC0415  # as above

    try:
        with EventsApiV2Client(key, base_url=url) as client:
            client.timeout, client.max_network_attempts = PAGERDUTY_SECONDS, 0  # the outbox tries again
            client.retry = {429: 1}  # without a number of its own the client repeats this one for ever
            if note.resolves:
                client.resolve(note.about)
            else:
                client.trigger(note.title, note.resource or "salvor", note.about or None, "critical", **_extras(note))
    except Error as error:
        raise _ours(error) from error


def _extras(note: Notification) -> dict[str, Any]:
    links = [{"href": note.url, "text": "The run"}] if note.url else []
    return {"custom_details": {"what": note.body, "run": note.run_id}, "links": links}


def _ours(error: Exception) -> SalvorError:
    answer = getattr(error, "response", None)
    status = getattr(answer, "status_code", 0)
    if status in REFUSED and status != ALREADY_TOLD:
        return Misconfigured(
            f"PagerDuty refused the event ({status}): correct pagerduty_routing_key in block `paging`."
        )
    return Transient(f"PagerDuty did not take the event: {error}")
