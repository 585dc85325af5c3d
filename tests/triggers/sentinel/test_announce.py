"""What several sentinels tell of one loss, against a real ledger: once, again while it lasts, and its end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal

from blocks.ledger import alerts, outbox, positions
from blocks.ledger.block import Ledger
from blocks.ledger.records import Position
from blocks.ledger.schema import leases
from flows.triggers.events import CONFLICTED
from flows.triggers.sentinel.announce import Announcer, Seen
from flows.triggers.sentinel.detect import Pace, Verdict, begin
from tests.triggers.conftest import KNOWN

NOW = datetime(2026, 11, 22, 3, 10, tzinfo=UTC)
PACE = Pace()


def seen(kind: Literal["healthy", "lost", "conflicted"], after: float = 0.0, timeline: int = 1) -> Seen:
    """What a sentinel saw AFTER seconds."""
    watch = begin(("n1", "n2", "n3"), "n1", timeline, "7")
    good = None if kind == "conflicted" else NOW - timedelta(seconds=0.5)
    verdict = Verdict(kind=kind, why=f"n1 is {kind}.", node="n1", last_good=10.0, first_miss=10.3)
    return Seen(verdict=verdict, watch=watch, at=NOW + timedelta(seconds=after), last_good_at=good)


def recorded(ledger: Ledger) -> None:
    at = NOW - timedelta(seconds=0.7)
    positions.record(ledger, Position(resource="recovery.postgres.orders", node="n1", lsn=1, timeline=1, at=at))


def sentinels(ledger: Ledger, number: int) -> list[Announcer]:
    return [Announcer(ledger, "orders", f"s{n}", KNOWN, PACE) for n in range(number)]


def events(ledger: Ledger) -> list[str]:
    return [p.payload["event"] for p in outbox.undelivered(ledger) if p.kind == "event"]


def test_ten_sentinels_tell_of_one_loss_once(ledger: Ledger) -> None:
    """All see it in the same moment, and again at every later look; one event is sent."""
    recorded(ledger)
    voices = sentinels(ledger, 10)
    with ThreadPoolExecutor(10) as pool:
        for after in (0.0, 0.1, 5.0):
            list(pool.map(lambda v, after=after: v.lost(seen("lost", after)), voices))
    (parcel,) = outbox.undelivered(ledger)
    payload = parcel.payload["payload"]
    assert parcel.payload["event"] == "sentinel.primary.lost"
    assert parcel.payload["resource"]["prefect.resource.id"] == "recovery.postgres.orders"
    assert (payload["procedure"], payload["target"], payload["severity"]) == ("postgres-failover", "orders", "critical")
    assert payload["reason"] == "n1 is lost."
    assert payload["started_at"] == (NOW - timedelta(seconds=0.5)).isoformat()


def test_a_loss_that_lasts_is_told_again_by_another_name(ledger: Ledger) -> None:
    """After 30 and 90 s, once among all sentinels, each with an id of its own, so that Prefect takes it."""
    recorded(ledger)
    voices = sentinels(ledger, 3)
    for after in (0, 10, 29, 31, 60, 88, 90, 100):
        for voice in voices:
            voice.lost(seen("lost", after))
    parcels = outbox.undelivered(ledger)
    assert len(parcels) == 3 == len({p.payload["id"] for p in parcels})


def test_a_sentinel_that_was_started_again_does_not_tell_again(ledger: Ledger) -> None:
    """The episode's name is in the ledger, not in a process."""
    recorded(ledger)
    sentinels(ledger, 1)[0].lost(seen("lost"))
    Announcer(ledger, "orders", "after-a-restart", KNOWN, PACE).lost(seen("lost", 20))
    assert events(ledger) == ["sentinel.primary.lost"]


def test_the_ledger_keeps_how_long_detection_took(ledger: Ledger) -> None:
    """The stored alert says when the primary was last good, first missed, and called lost."""
    recorded(ledger)
    (filed,) = sentinels(ledger, 1)[0].lost(seen("lost", 0.2))
    with ledger.read() as connection:
        kept = connection.exec_driver_sql("SELECT payload, fingerprint FROM alerts").one()
    assert '"detection_seconds": 0.7' in kept.payload
    assert f'"first_miss_at": "{(NOW - timedelta(seconds=0.2)).isoformat()}"' in kept.payload
    assert kept.fingerprint == filed.fingerprint


def test_the_same_primarys_return_ends_every_alert(ledger: Ledger) -> None:
    """Runs that wait at their gate find their alert resolved; one event tells of the return."""
    recorded(ledger)
    voices = sentinels(ledger, 3)
    fingerprints = [f.fingerprint for after in (0, 31) for v in voices for f in v.lost(seen("lost", after))]
    assert len(fingerprints) == 2
    for voice in voices:
        voice.healthy(seen("healthy", 40))
        assert not voice.open
    assert [alerts.is_resolved(ledger, f) for f in fingerprints] == [True, True]
    # What had not been sent of the loss is withdrawn.
    assert events(ledger) == ["sentinel.primary.returned"]


def test_another_primary_ends_no_alert(ledger: Ledger) -> None:
    """After a failover a run mends the rest; cut off and started again it must not find that all is well."""
    recorded(ledger)
    (voice,) = sentinels(ledger, 1)
    (filed,) = voice.lost(seen("lost"))
    voice.healthy(seen("healthy", 2, timeline=2))
    assert not alerts.is_resolved(ledger, filed.fingerprint)
    assert events(ledger) == ["sentinel.primary.lost", "sentinel.primary.returned"]


def test_what_a_run_does_to_its_target_is_no_loss(ledger: Ledger) -> None:
    """While a live run holds the lease, as a switchover does, nothing is told; when its lease ran out, it is."""
    recorded(ledger)
    (voice,) = sentinels(ledger, 1)
    until = datetime.now(UTC) + timedelta(minutes=5)
    held = {"resource": "recovery.postgres.orders", "token": 1, "run_id": "r1", "procedure": "postgres-switchover"}
    with ledger.begin() as connection:
        connection.execute(leases.insert().values(**held, expires_at=until))
    assert voice.lost(seen("lost")) == []
    assert voice.healthy(seen("healthy", 0.3, timeline=2)) == []
    assert events(ledger) == []
    with ledger.begin() as connection:
        connection.execute(leases.update().values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert len(voice.lost(seen("lost", 15))) == 1


def test_a_second_loss_is_another_episode(ledger: Ledger) -> None:
    """The same primary, lost, back, recorded and lost again, is told of twice."""
    recorded(ledger)
    (voice,) = sentinels(ledger, 1)
    first = voice.lost(seen("lost"))
    voice.healthy(seen("healthy", 5))
    at = NOW + timedelta(seconds=6)
    positions.record(ledger, Position(resource="recovery.postgres.orders", node="n1", lsn=2, timeline=1, at=at))
    second = voice.lost(seen("lost", 10))
    assert first[0].fingerprint != second[0].fingerprint


def test_nobody_had_recorded_anything(ledger: Ledger) -> None:
    """A sentinel that never saw the primary alive tells of its loss all the same."""
    (filed,) = sentinels(ledger, 1)[0].lost(seen("lost").model_copy(update={"last_good_at": None}))
    assert filed.event is not None


def test_two_primaries_are_told_and_paged_once_an_hour(ledger: Ledger) -> None:
    """An event that names no procedure, so that nothing is started, and a page; once among all sentinels."""
    for voice in sentinels(ledger, 3):
        for after in (0, 1):
            voice.conflicted(seen("conflicted", after))
    by_kind = {p.kind: p for p in outbox.undelivered(ledger)}
    assert len(outbox.undelivered(ledger)) == 2
    assert by_kind["notification"].payload["urgency"] == "page"
    assert by_kind["event"].payload["event"] == CONFLICTED
    assert by_kind["event"].payload["payload"]["procedure"] == ""


def test_a_ledger_that_failed_is_asked_again(ledger: Ledger) -> None:
    """What could not be stored is told at the next look, by the same sentinel."""
    recorded(ledger)
    (voice,) = sentinels(ledger, 1)
    with ledger.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox RENAME TO gone")
    try:
        voice.lost(seen("lost"))
        failed = False
    except Exception:  # noqa: BLE001 - whatever the ledger says of it
        failed = True
    with ledger.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO outbox")
    assert failed
    assert voice.lost(seen("lost", 0.1))
    assert events(ledger) == ["sentinel.primary.lost"]
