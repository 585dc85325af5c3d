"""Alerts, the outbox, positions and claims: stored once, in order, and never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from blocks.ledger import alerts, claims, holds, outbox, positions
from blocks.ledger.records import InboundAlert, Position, Stored
from blocks.ledger.schema import outbox as parcels

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def alert(status="firing", starts_at=START, **changes):
    facts = {"source": "alertmanager", "fingerprint": "f1", "starts_at": starts_at, "status": status}
    return InboundAlert(**facts | changes)


def age(ledger, **delta):
    """Let all parcels look older."""
    with ledger.begin() as connection:
        for row in connection.execute(parcels.select()).all():
            values = {"due_at": row.due_at - timedelta(**delta)}
            values |= {"sent_at": row.sent_at - timedelta(**delta)} if row.sent_at else {}
            connection.execute(parcels.update().where(parcels.c.id == row.id).values(values))


def test_an_alert_is_new_once(ledger):
    """Alertmanager repeats itself; each repetition is counted, and starts nothing."""
    said = [alerts.store(ledger, alert(), event={"id": "e"}) for _ in range(3)]

    assert said == [Stored(new=True, count=1), Stored(new=False, count=2), Stored(new=False, count=3)]
    assert [parcel.payload for parcel in outbox.undelivered(ledger)] == [{"id": "e"}]


@pytest.mark.parametrize(
    "change",
    [
        {"source": "grafana"},
        {"fingerprint": "f2"},
        {"status": "resolved"},
        {"starts_at": START + timedelta(seconds=1)},
    ],
)
def test_another_source_fingerprint_start_or_status_is_another_alert(ledger, change):
    """All four are its identity."""
    alerts.store(ledger, alert())
    assert alerts.store(ledger, alert(**change)).new


def test_the_same_moment_in_another_zone_is_the_same_alert(ledger):
    """A sender that changes its zone does not fire twice."""
    from datetime import timezone  # noqa: PLC0415

    alerts.store(ledger, alert())
    shifted = START.astimezone(timezone(timedelta(hours=2)))
    assert not alerts.store(ledger, alert(starts_at=shifted)).new


def test_an_alert_needs_a_time_zone_and_a_fingerprint():
    """Without them it has no identity."""
    with pytest.raises(ValidationError):
        alert(starts_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValidationError):
        alert(fingerprint="")


def test_an_alert_that_fires_again_is_not_resolved_any_more(ledger):
    """The newest episode counts."""
    assert not alerts.is_resolved(ledger, "f1")
    alerts.store(ledger, alert())
    assert not alerts.is_resolved(ledger, "f1")
    alerts.store(ledger, alert("resolved"))
    assert alerts.is_resolved(ledger, "f1")
    alerts.store(ledger, alert(starts_at=START + timedelta(minutes=5)))
    assert not alerts.is_resolved(ledger, "f1")


def test_a_parcel_is_put_once(ledger):
    """The same key is the same parcel, even after it was delivered."""
    assert outbox.put(ledger, "event", "k", {"n": 1})
    assert not outbox.put(ledger, "event", "k", {"n": 2})
    assert outbox.put(ledger, "notification", "k", {"n": 3})
    outbox.sent(ledger, outbox.due(ledger, kinds=("event",))[0].id)
    assert not outbox.put(ledger, "event", "k", {"n": 4})


def test_a_parcel_that_is_under_way_is_not_taken_up_again_until_its_carrier_must_be_dead(ledger):
    """Whoever took it up was killed before it said anything."""
    outbox.put(ledger, "event", "k", {})
    assert [parcel.attempts for parcel in outbox.due(ledger)] == [1]
    assert outbox.due(ledger) == []
    age(ledger, seconds=outbox.HANDS_OFF_SECONDS)
    assert [parcel.attempts for parcel in outbox.due(ledger)] == [2]


def test_a_failed_parcel_waits_longer_each_time(ledger):
    """1, 2, 4 … seconds, at most five minutes; the reason is kept."""
    outbox.put(ledger, "event", "k", {})
    waits = []
    for _ in range(12):
        (parcel,) = outbox.due(ledger)
        outbox.failed(ledger, parcel.id, "no answer")
        with ledger.read() as connection:
            waits.append(connection.execute(parcels.select()).one().due_at - datetime.now(UTC))
        age(ledger, seconds=outbox.BACKOFF_SECONDS)

    assert [round(wait.total_seconds()) for wait in waits] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert outbox.undelivered(ledger)[0].last_error == "no answer"


def test_parcels_come_in_the_order_in_which_they_were_put(ledger):
    """And only of the kinds that are wanted, at most so many."""
    for number in range(5):
        outbox.put(ledger, "event", f"k{number}", {})
        outbox.put(ledger, "run", f"r{number}", {})

    assert [parcel.key for parcel in outbox.due(ledger, kinds=("event",), limit=2)] == ["k0", "k1"]
    assert [parcel.key for parcel in outbox.due(ledger, limit=3)] == ["r0", "r1", "k2"]


def test_only_what_was_delivered_long_ago_is_forgotten(ledger):
    """What waits is kept for ever."""
    for key in ("old", "waiting"):
        outbox.put(ledger, "event", key, {})
    outbox.sent(ledger, outbox.due(ledger)[0].id)
    assert outbox.prune(ledger) == 0
    age(ledger, days=31)

    assert outbox.prune(ledger) == 1
    assert [parcel.key for parcel in outbox.undelivered(ledger)] == ["waiting"]


def position(**changes):
    facts = {"resource": "r", "node": "n1", "lsn": 100, "timeline": 1, "at": START, "streaming": ("n2", "n3")}
    return Position(**facts | changes)


def test_the_last_position_is_the_newest_one(ledger):
    """A record that comes late, from a sentinel that hung, does not go back in time."""
    assert positions.last(ledger, "r") is None
    positions.record(ledger, position(lsn=200, at=START + timedelta(seconds=1)))
    positions.record(ledger, position(lsn=100))

    assert positions.last(ledger, "r") == position(lsn=200, at=START + timedelta(seconds=1))
    assert positions.last(ledger, "another") is None


def test_the_last_position_may_be_another_nodes(ledger):
    """After a failover the new primary's counts."""
    positions.record(ledger, position())
    positions.record(ledger, position(node="n2", timeline=2, lsn=300, at=START + timedelta(seconds=9)))

    assert positions.last(ledger, "r").node == "n2"


def test_positions_as_large_as_postgresql_counts_are_kept(ledger):
    """A log position has 64 bits, of which the signed half is enough for 9 exabytes."""
    positions.record(ledger, position(lsn=2**62, timeline=2**31))

    assert positions.last(ledger, "r").lsn == 2**62


def test_the_first_claimer_wins_and_is_told_so_again(ledger):
    """A sentinel that asks again after a lost answer still announces."""
    said = [claims.claim_event(ledger, "k", by) for by in ("a", "b", "a")]

    assert said == [True, False, True]
    assert claims.prune(ledger) == 0


def test_a_new_hold_replaces_the_old_one(ledger):
    """The same thing is held once, with the newest reason."""
    until = datetime.now(UTC) + timedelta(hours=1)
    holds.hold(ledger, "orders", until, "first", "ada")
    holds.hold(ledger, "orders", until + timedelta(hours=1), "second", "bob")

    assert [(hold.reason, hold.placed_by) for hold in holds.standing(ledger)] == [("second", "bob")]
