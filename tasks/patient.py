"""The patient is not the doctor: what recovery depends on must not live on what is being recovered."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from prefect.settings import get_current_settings
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from blocks.errors import SalvorError, StandDown
from blocks.ledger.block import Ledger

POSTGRES_PORT = 5432


def refuse_if_patient(
    ledger: Ledger, addresses: Iterable[tuple[str, int]], system_identifiers: Iterable[int | str] = ()
) -> None:
    """Raise StandDown when the ledger, or Prefect's own database, is one of the servers being recovered."""
    patient = {place for host, port in addresses for place in _places(host, port)}
    known = {str(identifier) for identifier in system_identifiers}
    url = ledger.url.get_secret_value()
    if _within(url, patient) or (known and _system_identifier(ledger) in known):
        raise StandDown(_sentence("The ledger"))
    if _within(_prefect_url(), patient):
        raise StandDown(_sentence("Prefect's own database"))


def _sentence(what: str) -> str:
    return (
        f"{what} lives on the cluster that is to be recovered, so it would go down in the middle of the recovery."
        " Move it to another server, then run this again."
    )


def _prefect_url() -> str:
    secret = get_current_settings().server.database.connection_url
    return secret.get_secret_value() if secret is not None else ""


def _within(url: str, patient: set[tuple[str, int]]) -> bool:
    try:
        address = make_url(url)
    except ArgumentError:
        return False
    if address.get_backend_name() != "postgresql":
        return False
    hosts = str(address.host or address.query.get("host") or "localhost").split(",")
    return any(_places(host, address.port or POSTGRES_PORT) & patient for host in hosts)


def _places(host: str, port: int) -> set[tuple[str, int]]:
    if host.startswith("/"):
        host = "localhost"  # a socket directory
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return {(host.casefold(), port)}
    numbers = {str(entry[4][0]) for entry in found}
    here = {"127.0.0.1", "::1"}
    return {(number, port) for number in (numbers | here if numbers & here else numbers)} | {(host.casefold(), port)}


def _system_identifier(ledger: Ledger) -> str:
    if ledger.engine.dialect.name != "postgresql":
        return ""
    try:
        with ledger.read() as connection:
            query = text("SELECT system_identifier::text FROM pg_control_system()")
            return str(connection.execute(query).scalar_one())
    except (SalvorError, SQLAlchemyError):  # not every server lets us look; the address was compared already
        return ""
