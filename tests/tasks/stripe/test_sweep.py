"""Reading lists of a Stripe that is a function: by the clock that is given, without a lost cursor, of one mode."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.stripe_errors import StripeRefused, StripeStopped
from tasks.stripe.kinds import SUBSCRIPTIONS
from tasks.stripe.shapes import Items, Page, Subscription
from tasks.stripe.spool import Spool
from tasks.stripe.sweep import Reading, Sweep
from tasks.stripe.windows import Windows


class Listed:
    """Subscriptions, two a page; some cursors are refused."""

    def __init__(self, things: list[Subscription], lost: tuple[str, ...] = ()) -> None:
        self.things, self.lost = sorted(things, key=lambda each: (-each.created, each.id)), lost
        self.block, self.latency, self.stopped = SimpleNamespace(livemode=False), 0.0, Event()
        self.asked: list[dict[str, Any]] = []
        self.stubborn = False  #: what is refused as a cursor is listed all the same

    def read(self, _path: str, _shape: object, params: dict[str, Any]) -> Page[Subscription]:
        self.asked.append(params)
        cursor, bounds = params.get("starting_after"), params["created"]
        if cursor in self.lost:
            self.things = [each for each in self.things if each.id != cursor or self.stubborn]
            raise StripeRefused(f"No such subscription: {cursor}")
        inside = [each for each in self.things if bounds["gte"] <= each.created < bounds["lt"]]
        begin = next((n + 1 for n, each in enumerate(inside) if each.id == cursor), 0)
        return Page(data=inside[begin : begin + 2], has_more=begin + 2 < len(inside))


def thing(number: int, created: int, **facts: Any) -> Subscription:
    base = {"customer": "cus_1", "status": "active", "items": Items(data=[]), "livemode": False}
    return Subscription(**base | {"id": f"sub_{number}", "created": created} | facts)


def swept(api: Any, spool: Spool, **more: Any) -> Sweep:
    windows = spool.windows("acct/subscriptions") or Windows.whole(0, 1000)
    reading = Reading("acct/subscriptions", api, SUBSCRIPTIONS, windows)
    sweep = Sweep(spool, [reading], **{"clock": lambda: 12345.5, **more})
    sweep.run(2)
    return sweep


@pytest.fixture
def spool(tmp_path) -> Iterator[Spool]:
    it = Spool(tmp_path / "x.spool")
    yield it
    it.close()


def test_a_look_is_noted_by_the_clock_that_is_given(spool):
    """Whatever the time of this machine is."""
    swept(Listed([thing(n, n) for n in range(5)]), spool)
    assert {row[2] for row in spool.rows("subscriptions")} == {12345.5}


def test_a_cursor_that_is_gone_costs_no_object(spool):
    """The object behind it was deleted: its second is read once more, and the rest as before."""
    things = [thing(n, 10 + n // 3) for n in range(9)]
    lost = sorted(things, key=lambda each: (-each.created, each.id))[1].id
    api = Listed(things, (lost,))
    swept(api, spool)
    assert {row[0] for row in spool.rows("subscriptions")} == {each.id for each in things}
    assert sum(asked.get("starting_after") == lost for asked in api.asked) == 1


def test_what_is_refused_without_a_cursor_ends_the_run(spool):
    """And what was read before stays."""
    api = Listed([thing(1, 1)], (None,))  # type: ignore[arg-type]  # no cursor at all
    with pytest.raises(StripeRefused):
        swept(api, spool)
    assert api.stopped.is_set()


def test_a_cursor_that_is_refused_though_it_is_listed_ends_the_run(spool):
    """Beginning again would go on for ever."""
    api = Listed([thing(n, 10) for n in range(5)], ("sub_1",))
    api.stubborn = True
    with pytest.raises(StripeRefused):
        swept(api, spool)
    assert len(api.asked) == 4


def test_an_object_of_the_other_mode_ends_the_run(spool):
    """Nothing of its page is kept."""
    with pytest.raises(StripeStopped, match="sub_2 is of live mode"):
        swept(Listed([thing(1, 1), thing(2, 2, livemode=True)]), spool)
    assert list(spool.rows("subscriptions")) == []


def test_unknown_statuses_are_kept_and_counted_over_a_death(spool):
    """The run that goes on says them, too."""
    things = [thing(n, n, status="hibernating" if n in (1, 9) else "paused") for n in range(10)]
    calls: list[str] = []

    def dies(said: str, _share: float) -> None:
        calls.append(said)
        if len(calls) == 2:
            raise RuntimeError("dead")

    with pytest.raises(RuntimeError):
        swept(Listed(things), spool, say=dies)
    api = Listed(things)
    assert swept(api, spool).unknown == {"subscriptions: hibernating": 2}
    assert len(api.asked) == 3
    assert "hibernating" in {row[0]: row[1] for row in spool.rows("subscriptions")}["sub_9"]


def test_the_progress_says_what_is_done_and_how_much(spool):
    """Its share never falls, and ends at the whole."""
    said: list[tuple[str, float]] = []
    swept(Listed([thing(n, 100 * n) for n in range(10)]), spool, say=lambda *each: said.append(each))
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert said[-1][0].startswith("Listing: 10 objects, ")
