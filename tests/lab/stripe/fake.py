"""The fake Stripe as the tests see it: `with FakeStripe() as fake:` starts it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = "acct_1PgafTB7WZ01zgkW"
KEY, LIVE_KEY = "sk_test_51PgafTB7WZ01zgkWlab", "sk_live_51PgafTB7WZ01zgkWlab"
SECRET = "whsec_lab0123456789abcdefghijklmnop"
#: Columns that are a moment; Stripe counts seconds.
MOMENTS = {"created_at", "current_period_start", "current_period_end"}


class FakeStripe:
    """Starts it, ends it, and is its control door; most methods take `account=` and `livemode=`."""

    def __init__(self) -> None:
        """Describe it; nothing is started."""
        self.url, self.api_version = "", ""
        self.key, self.live_key, self.account, self.webhook_secret = KEY, LIVE_KEY, ACCOUNT, SECRET
        self._process: subprocess.Popen[str] | None = None
        self._http = httpx.Client(timeout=600, trust_env=False)

    @classmethod
    def attach(cls, url: str) -> Self:
        """Control one that somebody else started."""
        fake = cls()
        fake.url = url.rstrip("/")
        return fake

    # --- life

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.stop()

    def start(self) -> Self:
        """Start the process; it also ends when this one does."""
        argv = [sys.executable, "-m", "tests.lab.stripe", "--port", "0", "--child"]
        self._process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        said = self._process.stdout.readline() if self._process.stdout else ""
        if not said:
            raise RuntimeError(f"The fake Stripe did not start (exit {self._process.wait()}).")
        told = json.loads(said)
        self.url, self.api_version = told["url"], told["api_version"]
        return self

    def stop(self) -> None:
        """End the process."""
        self._http.close()
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid if self._process else 0

    def control(self, name: str, **given: Any) -> Any:
        """Ask the door NAME."""
        answer = self._http.post(f"{self.url}/_fake/{name}", content=json.dumps(given).encode())
        if answer.is_error:
            raise ValueError(json.loads(answer.content)["error"])
        return json.loads(answer.content)

    def reset(self) -> None:
        """Forget everything, as after a start."""
        self.control("reset")

    # --- what is

    def seed(
        self, *, customers: int = 100, subscriptions_per_customer: int = 1, seed: int = 1, **more: Any
    ) -> dict[str, int]:
        """Let a shop have been there, of any size; no events tell of it."""
        return self.control(
            "seed", customers=customers, subscriptions_per_customer=subscriptions_per_customer, seed=seed, **more
        )

    def act(self, kind: str, **given: Any) -> dict[str, Any]:
        """Let something happen (see actions.ACTIONS); AT a moment, or with generated=False without its events."""
        return self.control("act", kind=kind, **given)

    def random_history(self, steps: int, seed: int, **more: Any) -> dict[str, int]:
        """Let STEPS things happen in the last four hours; say how often each did. MISSING: share without events."""
        return self.control("history", steps=steps, seed=seed, **more)

    def truth(self, *tables: str, **where: Any) -> dict[str, dict[str, dict[str, Any]]]:
        """Give what the shop's tables must say: {table: {id: row}}, without those deleted in Stripe."""
        wanted = tables or ("customers", "subscriptions", "invoices", "payments")
        return {
            table: {row["id"]: _dated(row) for row in self.control("truth", table=table, **where)} for table in wanted
        }

    def deleted(self, **where: Any) -> set[str]:
        """Name the customers that are deleted in Stripe."""
        return set(self.control("deleted", **where))

    def events(self, **where: Any) -> list[dict[str, Any]]:
        """Give every event that was generated, oldest first."""
        return self.control("events", **where)

    def thin_events(self, **where: Any) -> list[dict[str, Any]]:
        """Give every thin event, oldest first."""
        return self.control("thin_events", **where)

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Give every request so far: number, method, path, endpoint, params, status, fault, account, at, seconds."""
        return self.control("requests", since=since)

    # --- who may

    def grant(self, key: str, account: str = "", permissions: list[str] | None = None) -> str:
        """Let a key (`…_test_…`, `…_live_…`) see an account, perhaps only these resources ("customers", …)."""
        return self.control("grant", key=key, account=account, permissions=permissions)

    def revoke(self, key: str) -> None:
        """Take a key back."""
        self.control("revoke", key=key)

    def connect(self, account: str) -> str:
        """Connect an account: it is asked with Stripe-Account."""
        return self.control("connect", account=account)

    def horizon(self, days: float) -> None:
        """Say how far back events can be listed; Stripe says 30 days."""
        self.control("horizon", days=days)

    def account_version(self, version: str, **where: Any) -> None:
        """Let the account's events be written in another version from now on."""
        self.control("account_version", version=version, **where)

    # --- what goes wrong

    def faults(self, **given: Any) -> None:
        """Switch faults on, until they are set to 0.

        latency_seconds, rate_per_endpoint, rate_per_account, retry_after, reasons, flaky, mutate_while_listed.
        """
        self.control("faults", **given)

    def fail_next(self, kind: str, endpoint: str = "", *, times: int = 1, after: int = 0, seconds: float = 1) -> None:
        """Let the next TIMES requests to ENDPOINT fail: 500 503 429 401 403 lock_timeout html slow cut cut_body."""
        self.control("fail_next", kind=kind, endpoint=endpoint, times=times, after=after, seconds=seconds)

    def clear_faults(self) -> None:
        """Switch everything off."""
        self.control("clear_faults")

    # --- webhooks

    def webhook_endpoint(self, url: str, **more: Any) -> dict[str, Any]:
        """Register an endpoint: enabled_events, secret, connect, api_version, status; its secret is in the answer."""
        return self.control("webhook_endpoint", url=url, **more)

    def set_endpoint(self, id: str, status: str, **where: Any) -> dict[str, Any]:  # noqa: A002 - Stripe's words
        """Make an endpoint `enabled` or `disabled`."""
        return self.control("set_endpoint", id=id, status=status, **where)

    def drop_webhooks(self, on: bool = True, seen_as: str = "failed") -> None:
        """Let deliveries get lost; Stripe sees them as `failed` (and tries again) or as `delivered` (and does not)."""
        self.control("drop_webhooks", on=on, seen_as=seen_as)

    def auto_deliver(self, on: bool = True) -> None:
        """Deliver whatever happens as soon as it does."""
        self.control("auto_deliver", on=on)

    def deliver(self, **given: Any) -> dict[str, int]:
        """Deliver what is due now (shuffle=seed, duplicates=share, share=, concurrency=); count what became of it."""
        return self.control("deliver", **given)

    def advance(self, seconds: float, **given: Any) -> dict[str, int]:
        """Let time go by for Stripe's retries, which are made when they are due."""
        return self.control("advance", seconds=seconds, **given)

    def redeliver(self, event: str) -> dict[str, int]:
        """Send an event again, as `stripe events resend` does."""
        return self.control("redeliver", event=event)

    def deliveries(self) -> list[dict[str, Any]]:
        """Say how every delivery stands: event, type, endpoint, attempts, status, answer, due."""
        return self.control("deliveries")


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromtimestamp(value, UTC) if name in MOMENTS and value is not None else value
        for name, value in row.items()
    }
