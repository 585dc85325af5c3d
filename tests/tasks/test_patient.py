"""The ledger, and Prefect's own database, must not live on what is being recovered."""

from __future__ import annotations

import psycopg
import pytest
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings
from pydantic import SecretStr

from blocks.errors import StandDown
from blocks.ledger.block import Ledger
from tasks.guard import refuse_if_patient


def postgres(place):
    return Ledger(url=SecretStr(f"postgresql://salvor@{place}/salvor"))


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("127.0.0.1:5433", ("127.0.0.1", 5433)),
        ("localhost:5433", ("127.0.0.1", 5433)),
        ("127.0.0.1:5433", ("localhost", 5433)),
        ("127.0.0.1", ("127.0.0.1", 5432)),
        ("db.unknown.invalid", ("DB.unknown.invalid", 5432)),
        ("[::1]:5433", ("127.0.0.1", 5433)),
    ],
)
def test_a_ledger_on_a_node_of_the_cluster_is_refused(place, address):
    """By name or by number, with or without a port; the sentence says what to do."""
    with pytest.raises(StandDown, match=r"The ledger lives on the cluster .* Move it"):
        refuse_if_patient(postgres(place), [("10.9.9.9", 5432), address])


def test_a_ledger_behind_a_socket_directory_is_here():
    """The host part of such a URL is in the query."""
    ledger = Ledger(url=SecretStr("postgresql:///salvor?host=/var/run/postgresql"))
    with pytest.raises(StandDown):
        refuse_if_patient(ledger, [("127.0.0.1", 5432)])


@pytest.mark.parametrize("place", ["127.0.0.1:5434", "10.1.1.1:5433"])
def test_a_ledger_elsewhere_is_fine(place):
    """Another port on the same host is another server."""
    refuse_if_patient(postgres(place), [("127.0.0.1", 5433)])


def test_a_ledger_in_a_file_is_fine(book):
    """It is on the machine that recovers."""
    refuse_if_patient(book, [("127.0.0.1", 5432)], ["7301"])


def test_a_ledger_that_is_the_cluster_under_another_name_is_refused(ledger_server):
    """The system identifier tells, when it is reached through a pooler or a virtual address."""
    with psycopg.connect(f"{ledger_server}postgres") as connection:
        (identifier,) = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    ledger = Ledger(url=SecretStr(f"{ledger_server}postgres"))

    refuse_if_patient(ledger, [("10.9.9.9", 5432)], [identifier + 1])
    with pytest.raises(StandDown, match="The ledger"):
        refuse_if_patient(ledger, [("10.9.9.9", 5432)], [identifier])


def test_a_ledger_that_does_not_answer_is_judged_by_its_address():
    """The pre-flight must not fail because of it; the claim will say that it is away."""
    refuse_if_patient(postgres("127.0.0.1:9"), [("127.0.0.1", 5433)], ["7301"])


def test_prefects_own_database_on_the_cluster_is_refused(book):
    """Where it can be seen from here."""
    url = SecretStr("postgresql+asyncpg://prefect:secret@127.0.0.1:5433/prefect")
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: url}):
        with pytest.raises(StandDown, match="Prefect's own database"):
            refuse_if_patient(book, [("127.0.0.1", 5433)])
        refuse_if_patient(book, [("127.0.0.1", 5435)])
