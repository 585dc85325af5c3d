"""The routing file: only the host and the port of our databases change."""

from __future__ import annotations

import pytest

from blocks.errors import Misconfigured
from blocks.pgbouncer_routing import rerouted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("orders = host=a port=1 dbname=orders", "orders = host=b port=2 dbname=orders"),
        ("orders=dbname=orders port=1 host=a pool_size=5", "orders=dbname=orders port=2 host=b pool_size=5"),
        ("orders = dbname=orders", "orders = host=b port=2 dbname=orders"),
        ("orders =", "orders = host=b port=2"),
        ("orders = host = a  port = 1", "orders = host=b  port=2"),
        (
            "orders = host='a' password='it''s host=x port=9' port=1",
            "orders = host=b password='it''s host=x port=9' port=2",
        ),
        ("orders = host=a,c port=1 connect_query='select 1'", "orders = host=b port=2 connect_query='select 1'"),
        ("orders = host=a port=1 auth_dbname=x localhost=y", "orders = host=b port=2 auth_dbname=x localhost=y"),
        ('"orders" = host=a port=1', '"orders" = host=b port=2'),
        ("  orders = host=a port=1  ", "  orders = host=b port=2  "),
        ("* = host=a port=1", "* = host=b port=2"),
    ],
)
def test_only_host_and_port_of_our_databases_change(line, wanted):
    """Other options, databases, comments and line ends stay as they are, and doing it twice is doing it once."""
    name = "*" if line.startswith("*") else "orders"
    others = "; orders = host=a port=1\n# orders = host=a\n[databases]\nshop = host=a port=1\r\n"
    text = f"{others}{line}\n\norders_old = host=a\n"
    after = rerouted(text, [name], "b", 2)
    assert after == text.replace(f"\n{line}\n", f"\n{wanted}\n")
    assert rerouted(after, [name], "b", 2) == after


def test_a_file_without_the_last_line_end_stays_without_it():
    """Nothing is added that was not there."""
    assert rerouted("orders = host=a port=1", ["orders"], "b", 2) == "orders = host=b port=2"


def test_a_database_without_a_line_is_refused():
    """A route that cannot be written is said by name before anything is written."""
    with pytest.raises(Misconfigured, match=r"no line for billing.*add `billing = host="):
        rerouted("orders = host=a\n", ["orders", "billing"], "b", 2)
