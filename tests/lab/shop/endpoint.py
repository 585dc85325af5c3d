"""The shop's webhook endpoint: the reference implementation of the claim protocol, small enough to copy.

1. The signature is verified over the raw bytes.
2. The event is durable before 2xx is answered; one that is known already gets 2xx as well, which ends Stripe's retries.
3. It is claimed with a lease, so that neither a replay nor another delivery works on it meanwhile. One that tells of
   events that were never made is left to the replay, which looks up what it names.
4. The object is looked up, because events come late and out of order.
5. State, effects and the end of the event are one transaction, serialised by object, under the guard of when it was
   looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field

import stripe
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.app_database import AppDatabase, Connection
from blocks.errors import SalvorError, Transient
from blocks.stripe_account import StripeAccount
from blocks.stripe_api import StripeApi
from tasks.stripe.claims import Claims
from tasks.stripe.event_subject import NEVER_MADE
from tasks.stripe.replay_fetch import Look, looked_up
from tasks.stripe.replay_list import event_of
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_state import Event, effects_by_type

LEASE_SECONDS = 30.0
ATTEMPTS = 5
EFFECTS = effects_by_type(ReplayPolicy().pairs)


@dataclass
class Shop:
    """The application behind the endpoint."""

    account: StripeAccount
    database: AppDatabase
    open: bool = True  #: otherwise it answers 503, as a shop that is down
    careless: bool = False  #: it answers 2xx and then crashes: the event is received, and never done
    claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        """Connect nothing yet."""
        self.claims = Claims(self.database)
        self.api = StripeApi(self.account)

    def take(self, payload: bytes, signature: str) -> Event:
        """Verify what came, and make it durable."""
        secret = self.account.webhook_secrets[0].get_secret_value()
        stripe.WebhookSignature.verify_header(payload.decode(), signature, secret, tolerance=300)
        event = event_of(json.loads(payload), self.account.account)
        with self.database.writing() as connection:
            self.claims.keep(connection, [event], "webhook")
        return event

    def work(self, event: Event) -> None:
        """Claim the event and bring it to its effect; what fails is kept for the replay."""
        if self.careless or event.type == NEVER_MADE:
            return
        who = {"account": event.account, "ids": [event.id]}
        with self.database.writing() as connection:
            claim = who | {"by": "endpoint", "lease_seconds": LEASE_SECONDS}
            if not self.claims.run(connection, "claim", **claim):
                return
        try:
            self._apply(event)
        except (SalvorError, ValueError) as error:
            said = {"error": str(error), "error_class": "endpoint", "limit": ATTEMPTS, "pause": 1.0, "burnt": 0}
            with self.database.writing() as connection:
                self.claims.run(connection, "fail", **who, **said, by="endpoint", run_id=None)

    def _apply(self, event: Event) -> None:
        look = self._look(event) if event.table else None
        with self.database.writing() as connection:
            self.claims.run(connection, "serialise", object_id=event.object_id)
            newer = self._write(connection, event, look) if look else True
            for name in EFFECTS.get(event.type, ()):
                note = f"{event.type} {event.object_id}"
                effect = {"account": event.account, "event_id": event.id, "handler": name, "note": note}
                self.claims.run(connection, "effect", **effect)
            meant = look is not None or event.type in EFFECTS
            status = "skipped" if not meant else "processed" if newer else "superseded"
            end = {"status": status, "error": None, "error_class": None, "run_id": None, "by": "endpoint"}
            if not self.claims.run(connection, "settle", account=event.account, ids=[event.id], **end):
                raise Transient("The lease was over, and somebody else has the event: nothing of this is kept.")

    def _look(self, event: Event) -> Look:
        with self.database.reading() as connection:
            links = self.claims.linked(connection, [event.object_id])
        return looked_up(self.api, event.table, event.object_id, self._clock, links)

    def _write(self, connection: Connection, event: Event, look: Look) -> bool:
        if look.row is None:
            return self.claims.bury(connection, event.table, event.object_id, look.at) or True
        return self.claims.project(connection, event.table, event.object_id, look.row, look.at)

    def _clock(self):
        with self.database.reading() as connection:
            return self.claims.run(connection, "clock")[0]["at"]


def application(shop: Shop) -> Starlette:
    """Serve the shop."""

    async def webhook(request: Request) -> Response:
        if not shop.open:
            return JSONResponse({"error": "The shop is down."}, status_code=503)
        payload, signature = await request.body(), request.headers.get("stripe-signature", "")
        try:
            event = await asyncio.to_thread(shop.take, payload, signature)
        except (stripe.SignatureVerificationError, ValueError, KeyError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except SalvorError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        return JSONResponse({"received": event.id}, background=BackgroundTask(shop.work, event))

    async def switch(request: Request) -> Response:
        wanted = await request.json()
        shop.open, shop.careless = wanted.get("open", shop.open), wanted.get("careless", shop.careless)
        return JSONResponse({"open": shop.open, "careless": shop.careless})

    routes = [Route("/stripe/webhook", webhook, methods=["POST"]), Route("/_lab/switch", switch, methods=["POST"])]
    return Starlette(routes=routes)


def main() -> None:
    """Serve what the environment says: SHOP is the JSON of the two blocks and the port."""
    said = json.loads(os.environ["SHOP"])
    secrets = [SecretStr(each) for each in said["account"].pop("webhook_secrets")]
    account = StripeAccount(**said["account"], webhook_secrets=secrets)
    shop = Shop(account, AppDatabase(url=SecretStr(said["database_url"])))
    uvicorn.run(application(shop), host="127.0.0.1", port=said["port"], log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
