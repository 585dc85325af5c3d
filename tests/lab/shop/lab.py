"""The patient for Stripe: a shop on one PostgreSQL server, its webhook endpoint, and the fake Stripe that delivers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
import uvicorn
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.rule_pack import RulePack
from blocks.stripe_account import StripeAccount
from flows.triggers.plane.ports import pick
from tests.lab.account import place
from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD
from tests.lab.pointer import HOME
from tests.lab.shop.data import PACK, fill_data
from tests.lab.shop.endpoint import Shop, application
from tests.lab.stripe import FakeStripe

if TYPE_CHECKING:
    from prefect.blocks.core import Block

TABLES = Path(__file__).parents[1] / "shop_stripe.sql"
CUSTOMERS = 400
#: A sandbox, as Stripe documents it.
LIMITS = {"latency_seconds": 0.1, "rate_per_endpoint": 25, "rate_per_account": 25}
ACCOUNT, DATABASE = "shop", "shop-db"
_FILL = "INSERT INTO {0} SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s::text::jsonb)"
_USERS = """
INSERT INTO users (id, email, tier, stripe_customer_id, created_at)
SELECT c.user_id, c.email, CASE WHEN EXISTS (
    SELECT FROM subscriptions s WHERE s.customer_id = c.id AND s.status IN ('active', 'trialing')
) THEN 'paid' ELSE 'free' END, c.id, c.created_at FROM customers c WHERE c.user_id IS NOT NULL
"""


@dataclass
class ShopLab:
    """What is up, for whoever looks at it or breaks it."""

    fake: FakeStripe
    url: str  #: of the shop's database

    @classmethod
    def attach(cls, spec: dict[str, str]) -> Self:
        """Take hold of one that another process brought up."""
        return cls(FakeStripe.attach(spec["stripe"]), spec["database"])

    def describe(self) -> str:
        """Say how another process takes hold of it."""
        return json.dumps({"stripe": self.fake.url, "database": self.url})

    @property
    def account(self) -> StripeAccount:
        """The account, as a team would fill in its block."""
        return StripeAccount(
            secret_key=SecretStr(self.fake.key),
            account=self.fake.account,
            livemode=False,
            database=DATABASE,
            webhook_secrets=[SecretStr(self.fake.webhook_secret)],
            api_base=self.fake.url,
        )

    def blocks(self) -> list[tuple[str, Block]]:
        """Describe the shop as Salvor is told about it."""
        database = AppDatabase(url=SecretStr(self.url))
        return [(ACCOUNT, self.account), (DATABASE, database), (DATABASE, RulePack(rules=PACK.read_text()))]

    def sql(
        self, statement: str, values: Sequence[object] | Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Execute a statement in the shop's database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def fill(self) -> None:
        """Let the shop's tables say what Stripe says."""
        self.sql(TABLES.read_text())
        for table, rows in self.fake.truth().items():
            given = [row | {"stripe_observed_at": "now"} for row in rows.values()]
            self.sql(_FILL.format(table), [json.dumps(given, default=str)])
        self.sql(_USERS)
        fill_data(self)


@contextmanager
def shop_lab() -> Iterator[ShopLab]:
    """Bring it up, and leave nothing behind."""
    with ExitStack() as stack:
        server = stack.enter_context(Lab(place(HOME), 1, sync=False, pooler=False, proxies=False))
        node = server.nodes["n1"]
        node.psql("CREATE DATABASE shop OWNER shop")
        node.psql("CREATE EXTENSION amcheck", "shop")
        node.psql("GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO shop", "shop")
        fake = stack.enter_context(FakeStripe())
        lab = ShopLab(fake, f"postgresql://shop:{PASSWORD}@{node.host}:{node.port}/shop")
        fake.seed(customers=CUSTOMERS, seed=7)
        lab.fill()
        endpoint = stack.enter_context(serving(Shop(lab.account, AppDatabase(url=SecretStr(lab.url)))))
        fake.webhook_endpoint(endpoint, secret=fake.webhook_secret)
        fake.faults(**LIMITS)
        fake.auto_deliver()
        yield lab


@contextmanager
def serving(shop: Shop) -> Iterator[str]:
    """Let the shop take webhooks; yield its address."""
    port = pick(0)
    server = uvicorn.Server(uvicorn.Config(application(shop), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/stripe/webhook"
    finally:
        server.should_exit = True
        thread.join(10)
