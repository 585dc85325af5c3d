"""What the bench holds against: the naive way (SDK and ORM, one row at a time), and the floor (the bare requests)."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import stripe
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.lab.stripe import FakeStripe

Values = dict[str, Any]


class Base(DeclarativeBase):
    """The application's models."""


class Subscription(Base):
    """A subscription, as an application maps it."""

    __tablename__ = "subscriptions"
    id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    status: Mapped[str]
    price_id: Mapped[str]
    quantity: Mapped[int]
    current_period_start: Mapped[datetime]
    current_period_end: Mapped[datetime]
    cancel_at_period_end: Mapped[bool]
    paused: Mapped[bool]
    livemode: Mapped[bool]


def one_by_one(fake: FakeStripe, url: str, ids: Sequence[str], every: int) -> float:
    """Retrieve each of IDS with the SDK and bring its row to it with the ORM; extrapolate the seconds to EVERY."""
    client = stripe.StripeClient(fake.key, base_addresses={"api": fake.url}, max_network_retries=2)
    with _session(url) as session:
        _set(session, ids[0], _values(client.v1.subscriptions.retrieve(ids[0])))  # the connections
        begun = time.perf_counter()
        for each in ids:
            _set(session, each, _values(client.v1.subscriptions.retrieve(each)))
        return (time.perf_counter() - begun) / len(ids) * every


def row_by_row(url: str, rows: Iterable[tuple[str, Values]], every: int) -> float:
    """Bring each row to what it should be with the ORM; extrapolate the seconds to EVERY."""
    known = list(rows)
    with _session(url) as session:
        _set(session, *known[0])
        begun = time.perf_counter()
        for each, values in known:
            _set(session, each, values)
        return (time.perf_counter() - begun) / len(known) * every


def _session(url: str) -> Session:
    return Session(create_engine(url.replace("postgresql://", "postgresql+psycopg://")))


def _set(session: Session, key: str, values: Values) -> None:
    row = session.scalars(select(Subscription).where(Subscription.id == key)).first()
    if row is None:
        session.add(row := Subscription(id=key, livemode=False))
    for name, value in values.items():
        setattr(row, name, value)
    session.commit()


def _values(found: stripe.Subscription) -> Values:
    items = found["items"]["data"]
    return {
        "customer_id": found.customer,
        "status": found.status,
        "price_id": items[0].price.id,
        "quantity": items[0].quantity,
        "current_period_start": datetime.fromtimestamp(max(i.current_period_start for i in items), UTC),
        "current_period_end": datetime.fromtimestamp(min(i.current_period_end for i in items), UTC),
        "cancel_at_period_end": found.cancel_at_period_end,
        "paused": found.pause_collection is not None,
    }


def bare(fake: FakeStripe, requests: Sequence[dict[str, Any]], at_once: int) -> float:
    """Send the same GETs again, AT_ONCE at a time, and throw away what comes: nothing is decoded, nothing is kept."""
    paths = [f"{each['path']}?{urlencode(list(_flat(each['params'])), quote_via=quote)}" for each in requests]
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(lambda n: _get_all(fake, paths[n::at_once]), range(at_once)):
            pass
    return time.perf_counter() - begun


def _get_all(fake: FakeStripe, paths: Sequence[str]) -> None:
    connection = http.client.HTTPConnection(urlsplit(fake.url).netloc)
    for path in paths:
        connection.request("GET", path, headers={"Authorization": f"Bearer {fake.key}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"The floor was answered {answer.status} to {path}.")
    connection.close()


def _flat(params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, dict):
            yield from ((f"{name}[{key}]", str(inner)) for key, inner in value.items())
        else:
            yield name, str(value)
