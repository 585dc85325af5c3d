"""The control door: what the tests ask of the fake, beside what the SDK asks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from tests.lab.stripe import actions, history, seeding, truth
from tests.lab.stripe.postbox import Postbox
from tests.lab.stripe.server import Server
from tests.lab.stripe.universe import Universe, World

Call = Callable[..., Any]


class Control:
    """Each public method is a door of its name."""

    def __init__(self, account: str, key: str, live_key: str, secret: str) -> None:
        """Remember how to begin again."""
        self._begin = (account, key, live_key)
        self._secret = secret
        self.world, self.postbox = World(*self._begin), Postbox(secret)
        self.world.listeners.append(self.postbox.take)
        self.server = Server(self.world, self)

    async def __call__(self, name: str, given: dict[str, Any]) -> Any:
        """Do what the door NAME does."""
        method: Call | None = None if name.startswith("_") else getattr(self, name, None)
        if method is None or not inspect.ismethod(method):
            raise ValueError(f"There is no control door {name!r}.")
        answer = method(**given)
        answer = await answer if isinstance(answer, Awaitable) else answer
        if self.postbox.automatic:
            self.postbox.hurry()
        return answer

    def reset(self) -> None:
        """Forget everything."""
        self.postbox.automatic = False
        self.world, self.postbox = World(*self._begin), Postbox(self._secret)
        self.world.listeners.append(self.postbox.take)
        fresh = Server(self.world, self)
        self.server.__dict__.update(fresh.__dict__)

    def _at(self, account: str, livemode: bool) -> Universe:
        return self.world.universe(account, livemode=livemode)

    # --- what is

    def seed(self, account: str = "", livemode: bool = False, **given: Any) -> dict[str, int]:
        """Let a shop have been there."""
        return seeding.seed(self._at(account, livemode), **given)

    def act(self, kind: str, account: str = "", livemode: bool = False, **given: Any) -> Any:
        """Let something happen."""
        return actions.act(self._at(account, livemode), kind, **given)

    def acts(self, acts: list[dict[str, Any]], account: str = "", livemode: bool = False) -> int:
        """Let many things happen, one after the other."""
        for each in acts:
            actions.act(self._at(account, livemode), **each)
        return len(acts)

    def history(self, account: str = "", livemode: bool = False, **given: Any) -> dict[str, int]:
        """Let many things happen."""
        return history.write(self._at(account, livemode), **given)

    def truth(self, table: str, account: str = "", livemode: bool = False) -> bytes:
        """Give the rows of a table."""
        return orjson.dumps(list(truth.rows(self._at(account, livemode), table)))

    def deleted(self, account: str = "", livemode: bool = False) -> list[str]:
        """Name the customers that were deleted."""
        held = self._at(account, livemode)["customer"]
        return [o["id"] for o in map(held.at, range(len(held))) if held.gone(o["id"])] if 255 in held.marks else []

    def events(self, account: str = "", livemode: bool = False) -> bytes:
        """Give all events, oldest first, also those that nobody can list any more."""
        held = self._at(account, livemode)["event"]
        return b"[" + b",".join(held.written(ordinal) for ordinal in held.live()) + b"]"

    def thin_events(self, account: str = "", livemode: bool = False) -> list[Any]:
        """Give all thin events, oldest first."""
        held = self._at(account, livemode)["thin_event"]
        return [held.at(ordinal) for ordinal in held.live()]

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Give the requests seen, from number SINCE on."""
        return [each for each in self.server.journal if each["number"] > since]

    def count(self) -> int:
        """Count the requests seen."""
        return self.server.numbered

    # --- who may

    def grant(self, key: str, account: str = "", permissions: list[str] | None = None) -> str:
        """Let KEY see ACCOUNT."""
        self.world.grant(key, account or self.world.account, permissions)
        return key

    def revoke(self, key: str) -> None:
        """Let KEY see nothing any more."""
        self.world.keys.pop(key, None)

    def connect(self, account: str) -> str:
        """Connect an account, in both modes."""
        for livemode in (False, True):
            self.world.universe(account, livemode=livemode, connected=True)
        return account

    def horizon(self, days: float) -> None:
        """Say how far back events can be listed."""
        self.world.horizon_days = days

    def account_version(self, version: str, account: str = "", livemode: bool = False) -> None:
        """Say in which version the account's events are written from now on."""
        self._at(account, livemode).api_version = version

    # --- what goes wrong

    def faults(self, **given: Any) -> None:
        """Switch faults on."""
        self.server.faults.set(**given)

    def fail_next(self, kind: str, **given: Any) -> None:
        """Let the next requests fail."""
        self.server.faults.plan(kind, **given)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self.server.faults = type(self.server.faults)()

    # --- webhooks

    def webhook_endpoint(self, url: str, account: str = "", livemode: bool = False, **given: Any) -> Any:
        """Register an endpoint."""
        return self.postbox.register(self._at(account, livemode), url, **given)

    def set_endpoint(self, id: str, status: str, account: str = "", livemode: bool = False) -> Any:  # noqa: A002 - Stripe's words
        """Enable or disable an endpoint."""
        return self.postbox.set_status(self._at(account, livemode), id, status)

    def drop_webhooks(self, on: bool = True, seen_as: str = "failed") -> None:
        """Let every delivery get lost on its way; Stripe sees it as failed or as delivered."""
        self.postbox.dropping = seen_as if on else ""

    def auto_deliver(self, on: bool = True) -> None:
        """Deliver at once whatever happens from now on."""
        self.postbox.automatic = on

    async def deliver(self, **given: Any) -> dict[str, int]:
        """Deliver what is due."""
        return await self.postbox.deliver(**given)

    async def advance(self, seconds: float, **given: Any) -> dict[str, int]:
        """Let time go by for the retries, and make each when it is due."""
        return await self.postbox.advance(seconds, **given)

    async def redeliver(self, event: str) -> dict[str, int]:
        """Send an event again to every endpoint, as `stripe events resend` does."""
        return await self.postbox.redeliver(event)

    def deliveries(self) -> list[dict[str, Any]]:
        """Say how every delivery stands."""
        return self.postbox.shown()
