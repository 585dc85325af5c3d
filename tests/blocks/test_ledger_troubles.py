"""Troubles that last, on both databases: told once, over once, and again when they come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from blocks.ledger import outbox, troubles
from blocks.ledger.records import Notification

NOTE = Notification(urgency="page", title="WAL does not arrive", body="")
OVER = Notification(urgency="inform", title="Over", body="", resolves=True)


def told(ledger) -> list[str]:
    return [parcel.key for parcel in outbox.undelivered(ledger)]


def test_a_trouble_is_told_once_however_many_see_it(ledger):
    """Ten who see it at the same moment, and see it again, tell it once; its end as well."""
    with ThreadPoolExecutor(10) as pool:
        for tell, note in ((troubles.begin, NOTE), (troubles.begin, NOTE), (troubles.end, OVER), (troubles.end, OVER)):
            list(pool.map(lambda _, tell=tell, note=note: tell(ledger, "orders/late", note), range(10)))
    assert told(ledger) == ["trouble/orders/late/1", "trouble/orders/late/1/over"]


def test_a_trouble_that_comes_again_is_told_again(ledger):
    """Each time has a number; no end is told of what was not told, and one target's is not another's."""
    assert not troubles.end(ledger, "orders/late", OVER)
    for _ in range(2):
        assert troubles.begin(ledger, "orders/late", NOTE)
        assert troubles.end(ledger, "orders/late", OVER)
    assert troubles.begin(ledger, "orders/late", NOTE)
    assert not troubles.end(ledger, "orders-eu/late", OVER)
    assert told(ledger)[-1] == "trouble/orders/late/3"


def test_the_parcels_for_each_route_are_no_troubles(ledger):
    """A notification is handed on as one parcel for each way of telling, which has its name behind."""
    troubles.begin(ledger, "orders/late", NOTE)
    outbox.put(ledger, "notification", "trouble/orders/late/1/pagerduty", {})
    assert not troubles.begin(ledger, "orders/late", NOTE)
    troubles.end(ledger, "orders/late", OVER)
    outbox.put(ledger, "notification", "trouble/orders/late/1/over/pagerduty", {})
    assert not troubles.end(ledger, "orders/late", OVER)
    assert troubles.begin(ledger, "orders/late", NOTE)
