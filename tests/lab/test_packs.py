"""The packs of the lab: of a shop that we designed, and of tables that we did not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from tests.blocks.servers import bin_directory
from tests.lab.packs import looked, pack, wrong
from tests.lab.shop.data import break_data
from tests.lab.shop.lab import ShopLab, shop_lab
from tests.ledgers import sql


@pytest.fixture(scope="module")
def bank(ledger_server: str) -> Iterator[str]:
    """The database of `pgbench -i`, after its script has run for a while."""
    name = f"bank{uuid4().hex[:8]}"
    sql(ledger_server, f"CREATE DATABASE {name}")
    url = f"{ledger_server}{name}"
    for options in (["-i", "-q"], ["-n", "-t", "200"]):
        subprocess.run([str(bin_directory() / "pgbench"), *options, url], check=True, capture_output=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION amcheck")
    yield url
    sql(ledger_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_of_a_schema_that_we_did_not_design_exactly_what_was_broken_is_found(bank: str) -> None:
    """Nothing is wrong after a run of pgbench; then each fault is found by its rule, and by no other."""
    rules = pack("pgbench")
    assert wrong(bank, rules) == {}
    with psycopg.connect(bank) as connection:
        connection.execute("UPDATE pgbench_accounts SET bid = 77 WHERE aid % 1000 = 1")
        connection.execute("INSERT INTO pgbench_history SELECT 1, 1, 200000 + n, 0, now() FROM generate_series(1, 3) n")
        connection.execute("UPDATE pgbench_history SET mtime = NULL WHERE aid = 200001")
        connection.execute("UPDATE pgbench_branches SET bbalance = bbalance + 5")
    assert wrong(bank, rules) == {
        "accounts of branches that are not there": 100,
        "history of accounts that are not there": 3,
        "history without its time": 1,
        "branches whose balance is not the sum of their history": 1,
    }


def test_a_table_without_a_primary_key_is_reported_and_refused_a_repair(bank: str) -> None:
    """pgbench_history has none: its wrong rows are counted, but a rule that would move them says why it cannot."""
    rules = pack("pgbench")
    text = rules.rules.replace("parent_columns: [tid]", "parent_columns: [tid]\n    repair: quarantine")
    found = looked(bank, rules.model_copy(update={"rules": text}))
    assert "pgbench_history has no primary key" in found["history of tellers that are not there"].unseen


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopLab]:
    """The shop of the lab."""
    with shop_lab() as lab:
        yield lab


def test_each_fault_of_the_shop_is_found_by_its_rule(shop: ShopLab) -> None:
    """Every rule of its pack holds until it is broken; then each finds what make lab-break-data said, and no more."""
    rules = pack("shop")
    assert wrong(shop.url, rules) == {}
    said = break_data(shop, "salt")
    assert len(said) == 12
    assert wrong(shop.url, rules) == {
        "users without an e-mail address": 4,
        "users who share a Stripe customer": 5,
        "users whose subscription says something else": 12,
        "users who pay and have the free tier": 6,
        "AI analysis jobs of users who are gone": 30,
        "scraping jobs of users who are gone": 30,
        "analyses of pages that are gone": 7,
        "sessions of users who are gone": 9,
        "payments of customers who are gone": 2,
        "AI analysis jobs that hang": 20,
        "scraping jobs that hang": 15,
        "expired sessions": 200,
        "balances that are not the sum of their entries": 1,
        "sequences behind the AI analysis jobs": 1,
    }
