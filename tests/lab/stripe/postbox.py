"""Webhooks: signed as Stripe signs them, and tried again when Stripe does, in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from stripe import WebhookSignature

from tests.lab.stripe import older
from tests.lab.stripe.collection import Object
from tests.lab.stripe.refusal import missing
from tests.lab.stripe.universe import Universe, written_time

HOUR = 3_600
#: Seconds after the first try: three days in live mode, three times within some hours in a sandbox.
LIVE_RETRIES = (300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 22 * HOUR, 34 * HOUR, 46 * HOUR, 58 * HOUR, 70 * HOUR)
TEST_RETRIES = (300, HOUR, 3 * HOUR)
PENDING, DELIVERED, FAILED, PREVENTED = "pending", "delivered", "failed", "prevented"


@dataclass
class Delivery:
    """One event on its way to one endpoint."""

    universe: Universe
    event: Object
    endpoint: str
    born: float
    due: float
    attempts: int = 0
    status: str = PENDING
    answer: int | str = 0

    @property
    def retries(self) -> tuple[int, ...]:
        """When it is tried again."""
        return LIVE_RETRIES if self.universe.livemode else TEST_RETRIES


class Postbox:
    """Endpoints, and what is on its way to them."""

    def __init__(self, secret: str) -> None:
        """Start without endpoints; SECRET signs for all that have none of their own."""
        self.secret, self.elapsed, self.dropping, self.automatic = secret, 0.0, "", False
        self._settings: dict[str, dict[str, Any]] = {}
        self._homes: dict[str, Universe] = {}
        self._deliveries: list[Delivery] = []
        self._open: list[Delivery] = []
        self._hurrying: asyncio.Task[Any] | None = None

    # --- endpoints

    def register(  # noqa: PLR0913 - each is one choice
        self,
        universe: Universe,
        url: str,
        *,
        enabled_events: list[str] | None = None,
        secret: str = "",
        connect: bool = False,
        api_version: str | None = None,
        status: str = "enabled",
    ) -> Object:
        """Register an endpoint of an account; CONNECT ones hear of the connected accounts."""
        made: Object = {
            "id": universe.new_id("webhook_endpoint"),
            "object": "webhook_endpoint",
            "api_version": api_version,
            "application": None,
            "created": universe.now(),
            "description": None,
            "enabled_events": enabled_events or ["*"],
            "livemode": universe.livemode,
            "metadata": {},
            "status": status,
            "url": url,
        }
        universe.put("webhook_endpoint", made)
        self._settings[made["id"]] = {"secret": secret or self.secret, "connect": connect}
        self._homes[made["id"]] = universe
        return made | {"secret": secret or self.secret}

    def set_status(self, universe: Universe, endpoint: str, status: str) -> Object:
        """Enable or disable it."""
        stored = universe.find("webhook_endpoint", endpoint)
        stored["status"] = status
        return universe.put("webhook_endpoint", stored)

    def take(self, universe: Universe, event: Object) -> None:
        """Put an event into the post, for every endpoint that is enabled now; the others never get it."""
        moment = float(universe.now())
        for id_, home in self._homes.items():
            endpoint = home.find("webhook_endpoint", id_)
            if endpoint["status"] == "enabled" and self._wants(home, endpoint, universe, event["type"]):
                delivery = Delivery(universe, event, id_, moment, moment)
                self._deliveries.append(delivery)
                self._open.append(delivery)
                self._count(delivery, +1)

    def _wants(self, home: Universe, endpoint: Object, of: Universe, type_: str) -> bool:
        same = home is of
        heard = home.livemode == of.livemode and self._settings[endpoint["id"]]["connect"] and of.connected
        wanted = endpoint["enabled_events"]
        return (same or bool(heard)) and ("*" in wanted or type_ in wanted)

    def _count(self, delivery: Delivery, by: int) -> None:
        """Keep the event's number of webhooks that did not arrive."""
        if delivery.event["object"] == "event":
            delivery.event["pending_webhooks"] += by
            delivery.universe.put("event", delivery.event)

    # --- delivering

    async def deliver(
        self, *, shuffle: int | None = None, duplicates: float = 0, share: float = 1, concurrency: int = 8
    ) -> dict[str, int]:
        """Try what is due; SHUFFLE is the seed of another order, DUPLICATES the share that is sent twice.

        SHARE below 1 leaves some in the post: they are late.
        """
        chance = random.Random(shuffle)
        moment = time.time() + self.elapsed
        due = [each for each in self._open if each.due <= moment]
        if share < 1:
            due = [each for each in due if chance.random() < share]
        twice = [each for each in due if chance.random() < duplicates]
        sending = due + twice
        if shuffle is not None:
            chance.shuffle(sending)
        gate = asyncio.Semaphore(concurrency)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            await asyncio.gather(*(self._send(http, gate, each) for each in sending))
        self._open = [each for each in self._open if each.status == PENDING]
        statuses = [each.status for each in due]
        return {status: statuses.count(status) for status in (DELIVERED, PENDING, FAILED, PREVENTED)}

    async def advance(self, seconds: float, **given: Any) -> dict[str, int]:
        """Let SECONDS go by, and try each delivery as often as it falls due."""
        end, total = self.elapsed + seconds, dict.fromkeys((DELIVERED, PENDING, FAILED, PREVENTED), 0)
        while True:
            following = min((each.due - time.time() for each in self._open), default=math.inf)
            if following > end:
                break
            self.elapsed = max(self.elapsed, following)
            for status, count in (await self.deliver(**given)).items():
                total[status] += count
        self.elapsed = end
        return total

    async def redeliver(self, event: str) -> dict[str, int]:
        """Send an event again, whatever became of it."""
        again = [each for each in self._deliveries if each.event["id"] == event]
        if not again:
            raise missing("event", event)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            await asyncio.gather(*(self._send(http, asyncio.Semaphore(1), each) for each in again))
        return {each.endpoint: each.answer if isinstance(each.answer, int) else 0 for each in again}

    def hurry(self) -> None:
        """Deliver in the background."""
        if self._hurrying is None or self._hurrying.done():
            self._hurrying = asyncio.get_running_loop().create_task(self.deliver())

    async def _send(self, http: httpx.AsyncClient, gate: asyncio.Semaphore, delivery: Delivery) -> None:
        async with gate:
            endpoint = self._homes[delivery.endpoint].find("webhook_endpoint", delivery.endpoint)
            if endpoint["status"] != "enabled":
                if delivery.status == PENDING:
                    delivery.status = PREVENTED
                return
            arrived = await self._post(http, endpoint, delivery)
        self._settle(delivery, arrived)

    async def _post(self, http: httpx.AsyncClient, endpoint: Object, delivery: Delivery) -> bool:
        if self.dropping:
            delivery.answer = f"dropped, seen as {self.dropping}"
            return self.dropping == DELIVERED
        payload = self.payload(delivery, endpoint)
        secret = self._settings[endpoint["id"]]["secret"]
        signature = WebhookSignature.generate_signature_header(payload, secret, int(time.time()))
        headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": signature}
        try:
            answered = await http.post(endpoint["url"], content=payload.encode(), headers=headers)
        except httpx.HTTPError as error:
            delivery.answer = type(error).__name__
            return False
        delivery.answer = answered.status_code
        return answered.is_success

    def payload(self, delivery: Delivery, endpoint: Object) -> str:
        """Write the event as the endpoint's version has it."""
        event = delivery.event
        if event["object"] == "event":
            held = delivery.universe["event"]
            written = held.written(held.ordinal(event["id"]) or 0)
            version = endpoint["api_version"] or event["api_version"]
            if endpoint["api_version"]:
                written = orjson.dumps(orjson.loads(written) | {"api_version": version})
            return (older.rewritten(delivery.universe, written) if older.asked(version) else written).decode()
        shown = {name: value for name, value in event.items() if name not in ("data", "changes", "snapshot_event")}
        return orjson.dumps(shown | {"created": written_time(event["created"])}).decode()

    def _settle(self, delivery: Delivery, arrived: bool) -> None:
        delivery.attempts += 1
        if delivery.status == DELIVERED:
            return
        if arrived:
            delivery.status = DELIVERED
            self._count(delivery, -1)
        elif delivery.attempts > len(delivery.retries):
            delivery.status = FAILED
        else:
            delivery.due = max(delivery.born, time.time() + self.elapsed - 1) + self._wait(delivery)

    def _wait(self, delivery: Delivery) -> float:
        steps = (0, *delivery.retries)
        return steps[delivery.attempts] - steps[delivery.attempts - 1]

    def shown(self) -> list[dict[str, Any]]:
        """Say how every delivery stands."""
        return [
            {
                "event": each.event["id"],
                "type": each.event["type"],
                "endpoint": each.endpoint,
                "attempts": each.attempts,
                "status": each.status,
                "answer": each.answer,
                "due": each.due,
            }
            for each in self._deliveries
        ]
