"""The shop that somebody new breaks and heals from the UI."""

from __future__ import annotations

from tests.lab.shop.breaks import break_it
from tests.lab.shop.lab import ShopLab, shop_lab


def count(lab: ShopLab, table: str) -> int:
    return int(lab.sql(f"SELECT count(*) FROM {table}")[0][0])


def test_the_shop_is_as_stripe_says_until_it_is_broken() -> None:
    """Broken, it has lost webhooks and rows, and every sentence says what."""
    with shop_lab() as lab:
        truth = lab.fake.truth()
        assert {table: count(lab, table) for table in truth} == {table: len(rows) for table, rows in truth.items()}
        said = break_it(lab)
        assert all(each["attempts"] for each in lab.fake.deliveries())
        assert count(lab, "stripe_events") == 0
        assert count(lab, "invoices") == len(truth["invoices"]) - 3
        assert count(lab, "payments") == len(truth["payments"]) + 1
        assert "webhooks were lost" in said[0]
        assert "Two users are the customer" in said[-1]
