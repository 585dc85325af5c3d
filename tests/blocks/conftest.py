"""Real servers for the tests of blocks."""

from __future__ import annotations

import pytest

from tests.blocks.servers import scratch, server


@pytest.fixture
def root():
    """Give a directory that the database's user owns."""
    with scratch() as path:
        yield path


@pytest.fixture(scope="module")
def db():
    """Give a running PostgreSQL that the tests of one module share."""
    with scratch() as path, server(path) as it:
        yield it


@pytest.fixture
def own_db(root):
    """Give a running PostgreSQL that the test may break."""
    with server(root) as it:
        yield it
