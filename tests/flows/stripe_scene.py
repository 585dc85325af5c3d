"""A shop on a real PostgreSQL beside a Stripe of paper, known to the session's Prefect server as `shop`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import stripe
import uvicorn
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.stripe_account import StripeAccount
from flows.stripe_replay import stripe_replay
from flows.triggers.plane.ports import pick
from tasks.model import Evidence
from tasks.stripe.decide_replay import decide_replay, judge_replay, unlooked
from tasks.stripe.reach import Reach
from tasks.stripe.replay_act import keep, replay
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_probe import observed, replayed_of
from tasks.stripe.replay_state import ReplayPlan
from tests.flows.paper_stripe import ACCOUNT, PaperStripe
from tests.lab.shop.endpoint import Shop, application
from tests.ledgers import sql

TABLES = Path(__file__).parents[1] / "lab" / "shop_stripe.sql"
SECRET = "whsec_paper"
FAST = {"settle_seconds": 0, "wait_seconds": 10}


@dataclass
class Ended:
    """How a replay ended that ran without Prefect and ledger."""

    name: str
    message: str
    plan: ReplayPlan | None = None
    evidence: tuple[Evidence, ...] = ()
    unverified: tuple[str, ...] = ()


def rehearse(at: Reach, policy: ReplayPolicy) -> Ended:
    """Run the beats of the flow one after another, without what makes it a procedure."""
    before = observed(at, policy, to_write=True)
    decision = decide_replay(before, policy)
    if not (plan := decision.plan):
        return Ended({"nothing": "NothingToDo", "refuse": "Refused"}[decision.verdict], decision.why)
    keep(at, before.events, "run")
    with at.apis() as apis:
        replay(at, plan, before.events, "run", apis)
    after, _ = replayed_of(at, plan, before)
    evidence = judge_replay(plan, after)
    name = "Recovered" if all(each.holds for each in evidence) else "Unverified"
    return Ended(name, str(after), plan, evidence, unlooked(plan, after))


@dataclass
class Scene:
    stripe: PaperStripe
    url: str
    account: StripeAccount
    database: AppDatabase

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def statuses(self) -> dict[str, str]:
        return dict(self.rows("SELECT event_id, status FROM stripe_events"))

    def run(self, **policy: Any) -> Any:
        return stripe_replay("shop", ReplayPolicy(**FAST | policy), requested_by="ada", return_state=True)

    def rehearse(self, **policy: Any) -> Ended:
        return rehearse(Reach("shop", self.account, self.database), ReplayPolicy(**FAST | policy))

    def shop(self, *, careless: bool = False) -> Shop:
        return Shop(self.account, self.database, careless=careless)

    def change_account(self, **fields: Any) -> None:
        self.account = self.account.model_copy(update=fields)
        self.account.save("shop", overwrite=True)


def deliver(shop: Shop, event: dict[str, Any]) -> None:
    """Deliver an event as Stripe does."""
    payload = json.dumps(event)
    shop.work(shop.take(payload.encode(), stripe.WebhookSignature.generate_signature_header(payload, SECRET)))


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    """Let SHOP take webhooks over HTTP; yield its address."""
    server = uvicorn.Server(uvicorn.Config(application(shop), host="127.0.0.1", port=pick(0), log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.config.port}/stripe/webhook"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def shop_on(server: str, account: StripeAccount, *, save: bool = True) -> Iterator[Scene]:
    """Give ACCOUNT an empty shop on SERVER, and let Prefect know both blocks if they are to be SAVEd."""
    url = fresh(server)
    database = AppDatabase(url=SecretStr(url))
    if save:
        account.save("shop", overwrite=True)
        database.save("shop-db", overwrite=True)
    yield Scene(None, url, account, database)  # type: ignore[arg-type]  # a Stripe of another kind


def fresh(server: str) -> str:
    """Give an empty database with the shop's tables."""
    url = f"{server}shop"
    with suppress(psycopg.errors.DuplicateDatabase):
        sql(server, "CREATE DATABASE shop")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS salvor CASCADE")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute(TABLES.read_bytes())
    return url


@contextmanager
def scene_on(server: str, *, save: bool = True) -> Iterator[Scene]:
    """Give a shop on SERVER that is paid through a Stripe of paper."""
    with PaperStripe() as paper:
        account = StripeAccount(
            secret_key=SecretStr("sk_test_paper"),
            account=ACCOUNT,
            livemode=False,
            database="shop-db",
            webhook_secrets=[SecretStr(SECRET)],
            api_base=paper.url,
            requests_per_second=100_000,
            endpoint_requests_per_second=100_000,
        )
        with shop_on(server, account, save=save) as scene:
            scene.stripe = paper
            yield scene
