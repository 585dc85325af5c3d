"""A shop beside the fake Stripe: what its tables say, what they should say, and ways in which they drift."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from prefect.settings import PREFECT_HOME, temporary_settings
from psycopg.rows import dict_row
from pydantic import SecretStr

from blocks.stripe_account import StripeAccount
from flows.stripe_resync import stripe_resync
from flows.stripe_undo import stripe_undo
from tasks.stripe.policies import ResyncPolicy, UndoPolicy
from tests.flows.stripe_scene import Scene, fresh, shop_on
from tests.lab.stripe import FakeStripe
from tests.ledgers import sqlite_ledger

TABLES = ("customers", "subscriptions", "invoices", "payments")
OURS = ("stripe_observed_at", "stripe_deleted_at", "user_id")  #: columns that Stripe does not fill
Rows = dict[str, dict[str, dict[str, Any]]]


class Drifted:
    """The shop `shop`, its Stripe, and what can be done to both."""

    def __init__(self, scene: Scene, fake: FakeStripe, server: str) -> None:
        self.scene, self.fake, self.server, self.url = scene, fake, server, scene.url
        self.account = scene.account

    def begin_again(self, **seed: Any) -> None:
        """Empty the shop, and let Stripe be as at the beginning; saving blocks anew would take seconds."""
        self.fake.reset()
        self.fake.clear_faults()
        self.fake.seed(**seed)
        fresh(self.server)
        shutil.rmtree(Path(PREFECT_HOME.value()) / "salvor", ignore_errors=True)  # what was listed of another Stripe
        if self.scene.account != self.account:
            self.scene.change_account(**self.account.model_dump(exclude={"block_type_slug"}))

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.scene.rows(statement, *values)

    def resync(self, **policy: Any) -> Any:
        form = ResyncPolicy(**{"dry_run": False, "workers": 6, **policy})
        return stripe_resync("shop", form, requested_by="ada", return_state=True)

    def undo(self, run_id: str, **policy: Any) -> Any:
        return stripe_undo("shop", UndoPolicy(run_id=run_id, **policy), requested_by="ada", return_state=True)

    def runs(self) -> list[str]:
        found = self.sql("SELECT run_id, max(number) FROM salvor.stripe_changes GROUP BY 1 ORDER BY 2")
        return [row[0] for row in found]

    def rows(self, *, everything: bool = False) -> Rows:
        """Give the shop's rows without tombstones, or all of them with every column."""
        found: Rows = {}
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            for table in (*TABLES, "users") if everything else TABLES:
                rows = connection.execute(f"SELECT to_jsonb(t) AS row, t.* FROM {table} t".encode()).fetchall()
                if everything:
                    found[table] = {str(row["id"]): row["row"] for row in rows}
                    continue
                alive = [row for row in rows if row["stripe_deleted_at"] is None]
                kept = ({k: v for k, v in row.items() if k not in (*OURS, "row")} for row in alive)
                found[table] = {row["id"]: row for row in kept}
        return found

    def truth(self) -> Rows:
        """Give what the rows should be."""
        truth = self.fake.truth()
        return {
            table: {key: {k: v for k, v in row.items() if k not in OURS} for key, row in rows.items()}
            for table, rows in truth.items()
        }

    def fill(self) -> None:
        """Let the shop be as it should."""
        for table, rows in self.truth().items():
            given = [row | {"stripe_observed_at": "2020-01-01"} for row in rows.values()]
            statement = f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::text::jsonb)"
            self.sql(statement, json.dumps(given, default=str))

    def drift(self, seed: int = 1) -> int:
        """Let rows be lost, wrong, and left over; say how many."""
        chance = random.Random(seed)
        truth = self.fake.truth()
        lost = chance.sample(sorted(truth["invoices"]), 3)
        wrong = chance.sample(sorted(truth["subscriptions"]), 4)
        self.sql("DELETE FROM invoices WHERE id = ANY (%s)", lost)
        self.sql("UPDATE subscriptions SET status = 'active!', quantity = 99 WHERE id = ANY (%s)", wrong)
        paid = chance.sample(sorted(truth["payments"]), 2)
        self.sql("UPDATE payments SET invoice_id = NULL, refunded_amount = 7 WHERE id = ANY (%s)", paid)
        return len(lost) + len(wrong) + len(paid)


@contextmanager
def drifting(server: str, folder: Path) -> Iterator[Drifted]:
    """Give one shop, one Stripe and one ledger for all tests of a file."""
    ledger = sqlite_ledger(folder)
    ledger.save("ledger", overwrite=True)
    with FakeStripe() as fake, drifted_on(server, fake) as shop:
        yield shop
    ledger.engine.dispose()


@contextmanager
def drifted_on(server: str, fake: FakeStripe, **account: Any) -> Iterator[Drifted]:
    """Set the shop up on SERVER, and save its blocks."""
    fields: dict[str, Any] = {
        "secret_key": SecretStr(fake.key),
        "account": fake.account,
        "livemode": False,
        "database": "shop-db",
        "api_base": fake.url,
        "rate_share": 1,
        "requests_per_second": 100_000,
        "endpoint_requests_per_second": 100_000,
    }
    with (
        tempfile.TemporaryDirectory() as home,
        temporary_settings({PREFECT_HOME: home}),
        shop_on(server, StripeAccount(**fields | account)) as scene,
    ):
        yield Drifted(scene, fake, server)
