"""One fake Stripe for all tests of this folder, emptied before each; its client is the unmodified SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from tests.lab.stripe import FakeStripe
from tests.lab.stripe.shop_window import ShopWindow


@pytest.fixture(scope="session")
def one_fake() -> Iterator[FakeStripe]:
    with FakeStripe() as fake:
        yield fake


@pytest.fixture
def fake(one_fake: FakeStripe) -> FakeStripe:
    one_fake.reset()
    return one_fake


@pytest.fixture
def client(fake: FakeStripe) -> stripe.StripeClient:
    return stripe.StripeClient(fake.key, base_addresses={"api": fake.url})


@pytest.fixture
def shop() -> Iterator[ShopWindow]:
    with ShopWindow() as window:
        yield window
