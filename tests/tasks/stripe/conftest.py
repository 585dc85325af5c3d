"""Every test of the replay has a shop on a real PostgreSQL beside a Stripe of paper, and neither Prefect nor ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.stripe_scene import Scene, scene_on


@pytest.fixture
def scene(ledger_server) -> Iterator[Scene]:
    """Give an empty shop beside an empty Stripe."""
    with scene_on(ledger_server, save=False) as it:
        yield it
