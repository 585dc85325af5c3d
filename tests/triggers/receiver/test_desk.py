"""The routes for people and scripts, and the metrics, over real HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from blocks.ledger import backups, holds, outbox, positions, runs
from blocks.ledger.backups import Practised
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, NewRun, Position
from blocks.ledger.schema import runs as runs_table
from tests.tasks.backups.worlds import NOW, a_set
from tests.triggers.conftest import KNOWN, OPERATOR, SCRAPER, Recorder, eventually
from tests.triggers.receiver.test_receiver import BEARER, golden

PERSON = {"Authorization": f"Bearer {OPERATOR}"}
ASKED = {"target": "orders", "reason": "it is down", "requested_by": "ann"}
HELD = {"resource": "orders", "hours": 2, "reason": "restart of n1", "requested_by": "ann"}


def test_a_person_asks_for_a_recovery(receiver: httpx.Client, prefect: Recorder) -> None:
    """A request becomes the event that starts the procedure, with who, why and dry run in it."""
    answer = receiver.post("/recover/postgres-failover", json=ASKED | {"dry_run": True}, headers=PERSON)
    assert (answer.status_code, answer.json()["new"]) == (202, True)
    (sent,) = eventually(lambda: prefect.events)
    assert sent["event"] == "operator.recovery.requested"
    assert sent["resource"]["salvor.procedure"] == "postgres-failover"
    shown = {k: sent["payload"][k] for k in ("target", "reason", "requested_by", "dry_run", "alert", "source")}
    assert shown == ASKED | {"dry_run": True, "alert": answer.json()["request"], "source": "operator"}


def test_a_request_that_is_sent_twice(receiver: httpx.Client, prefect: Recorder, ledger: Ledger) -> None:
    """With an Idempotency-Key the second POST asks for nothing more; without one it does."""
    key = {"Idempotency-Key": "deploy-42"}
    codes = [
        receiver.post("/recover/postgres-failover", json=ASKED, headers=PERSON | k).status_code
        for k in (key, key, {}, {})
    ]
    assert codes == [202, 200, 202, 202]
    eventually(lambda: not outbox.undelivered(ledger))
    assert len({e["id"] for e in prefect.events}) == 3


@pytest.mark.parametrize(
    ("procedure", "body", "answered"),
    [
        ("postgres-failovr", ASKED, (404, "there are: postgres-failover, postgres-rejoin")),
        ("postgres-failover", ASKED | {"target": ""}, (400, "target")),
        ("postgres-failover", ASKED | {"target": "No Such"}, (400, "lower-case letters")),
        ("postgres-failover", ASKED | {"reason": "x"}, (400, "reason")),
        ("postgres-failover", ASKED | {"requested_by": ""}, (400, "requested_by")),
        ("postgres-failover", ASKED | {"dry_run": "perhaps"}, (400, "dry_run")),
        ("postgres-failover", ASKED | {"dryrun": True}, (400, "dryrun: Extra inputs")),
        ("postgres-failover", {}, (400, "target: Field required")),
    ],
)
def test_a_request_that_is_not_in_order(
    receiver: httpx.Client, prefect: Recorder, procedure: str, body: dict[str, object], answered: tuple[int, str]
) -> None:
    """A 4xx that says what to mend, and nothing is started."""
    answer = receiver.post(f"/recover/{procedure}", json=body, headers=PERSON)
    assert answer.status_code == answered[0]
    assert answered[1] in answer.json()["error"]
    assert prefect.events == []


def test_an_idempotency_key_that_cannot_be_kept(receiver: httpx.Client) -> None:
    """A key longer than a ledger column is refused."""
    headers = PERSON | {"Idempotency-Key": "k" * 201}
    assert receiver.post("/recover/postgres-failover", json=ASKED, headers=headers).status_code == 400


def test_the_status_shows_what_runs_ran_and_is_held(receiver: httpx.Client, ledger: Ledger) -> None:
    """Active runs, ended runs and holds, each with what one line needs."""
    for number in ("r1", "r2"):
        runs.register(ledger, NewRun(flow_run_id=number, procedure=KNOWN[0], target="orders", requested_by="ann"))
    runs.close(ledger, "r1", Ending(outcome="Recovered", why="All is well.", operation="done"))
    assert receiver.post("/hold", json=HELD, headers=PERSON).status_code == 200
    shown = receiver.get("/recover", headers=PERSON).json()
    assert [r["flow_run_id"] for r in shown["active"]] == ["r2"]
    assert [(r["outcome"], r["why"]) for r in shown["recent"]] == [("Recovered", "All is well.")]
    assert [h["reason"] for h in shown["holds"]] == ["restart of n1"]


def test_a_hold_is_placed_and_lifted(receiver: httpx.Client, ledger: Ledger) -> None:
    """What is held is in the ledger, where every gate looks; lifting it says how many there were."""
    receiver.post("/hold", json=HELD, headers=PERSON)
    (hold,) = holds.standing(ledger)
    assert (hold.resource, hold.placed_by) == ("orders", "ann")
    assert timedelta(hours=1.9) < hold.until - datetime.now(UTC) < timedelta(hours=2.1)
    answer = receiver.post("/lift", json={"resource": "orders", "requested_by": "bob"}, headers=PERSON)
    assert answer.json()["lifted"] == 1
    assert holds.standing(ledger) == []
    assert receiver.post("/hold", json=HELD | {"hours": 0}, headers=PERSON).status_code == 400


def test_health_needs_no_key(receiver: httpx.Client) -> None:
    """A load balancer may ask."""
    assert receiver.get("/health").json() == {"status": "ok"}


def scraped(receiver: httpx.Client) -> dict[tuple[str, ...], float]:
    text = receiver.get("/metrics", headers={"Authorization": f"Bearer {SCRAPER}"}).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {(s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value for s in samples}


def test_metrics_are_counted_from_the_ledger(receiver: httpx.Client, ledger: Ledger, prefect: Recorder) -> None:
    """Attempts, outcomes, durations, active runs, time to recover, backlog, alerts and the sentinel's own pulse."""
    now = datetime.now(UTC)
    prefect.answer["/api/events"] = (500, {})
    body = golden("alertmanager_ok_labels")
    body["alerts"][0]["startsAt"] = (now - timedelta(seconds=100)).isoformat()
    for _ in range(3):
        receiver.post("/hooks/alertmanager", json=body, headers=BEARER)
    fields = {"procedure": "postgres-failover", "target": "orders", "alert": "beec33bac19a48bb"}
    for number in ("r1", "r2", "r3"):
        runs.register(ledger, NewRun(flow_run_id=number, **fields))
    runs.close(ledger, "r1", Ending(outcome="Recovered", why="", operation="done"))
    runs.close(ledger, "r2", Ending(outcome="Refused", why=""))
    began, ended = now - timedelta(seconds=90), now - timedelta(seconds=70)
    with ledger.begin() as connection:
        first = update(runs_table).where(runs_table.c.id == "r1")
        connection.execute(first.values(started_at=began, ended_at=ended))
    positions.record(ledger, Position(resource="recovery.postgres.orders", node="n1", lsn=1, timeline=1, at=began))

    seen = scraped(receiver)
    procedure = "procedure=postgres-failover"
    assert seen["salvor_runs_started_total", procedure] == 3
    assert seen["salvor_runs_active", procedure] == 1
    assert seen["salvor_runs_swept_total", procedure] == 0
    assert seen["salvor_runs_ended_total", "outcome=Recovered", procedure] == 1
    assert seen["salvor_runs_ended_total", "outcome=Refused", procedure] == 1
    assert seen["salvor_run_seconds_sum", "outcome=Recovered", procedure] == pytest.approx(20)
    assert seen["salvor_run_seconds_bucket", "le=10", "outcome=Recovered", procedure] == 0
    assert seen["salvor_run_seconds_bucket", "le=30", "outcome=Recovered", procedure] == 1
    assert seen["salvor_time_to_recover_seconds_count", procedure] == 1
    assert seen["salvor_time_to_recover_seconds_sum", procedure] == pytest.approx(30)
    assert seen["salvor_alerts_total", "source=alertmanager", "status=firing"] == 1
    assert seen["salvor_alert_deliveries_total", "source=alertmanager", "status=firing"] == 3
    assert seen["salvor_outbox_waiting", "kind=event"] == 1
    assert seen["salvor_outbox_oldest_seconds", "kind=event"] > 0
    assert seen["salvor_position_age_seconds", "resource=recovery.postgres.orders"] > 80
    assert seen["salvor_holds",] == 0


def test_backups_are_measured_from_the_ledger(receiver: httpx.Client, ledger: Ledger) -> None:
    """WAL, the newest set whose parents are good too, the last recovery that passed and its RTO; for each target."""
    sets = [a_set("s1", days=3), a_set("s2", days=2, parent="s1"), a_set("s3", days=1, verified_at=None)]
    now = datetime.now(UTC)
    aged = [each.model_copy(update={"ended_at": now - (NOW - each.ended_at)}) for each in sets]
    backups.keep(ledger, "orders", [*aged, aged[0].model_copy(update={"id": "s4", "parent": "s3", "ended_at": now})])
    backups.keep(ledger, "billing", [aged[0].model_copy(update={"bad": "a bit was flipped"})])
    for run, hours, passed in (("r1", 9, True), ("r2", 5, True), ("r3", 1, False)):
        entry = {"run_id": run, "target": "orders", "kind": "newest", "set_id": "s1", "recovered_to": "its end"}
        at = now - timedelta(hours=hours)
        backups.practised(ledger, Practised(**entry, at=at, passed=passed, writable_seconds=hours))
    position = Position(resource="recovery.archive.orders", node="archive", lsn=1, timeline=1, at=now)
    positions.record(ledger, position.model_copy(update={"at": now - timedelta(seconds=30)}))
    seen, orders = scraped(receiver), "target=orders"
    assert seen["salvor_set_age_seconds", orders] == pytest.approx(2 * 86_400, abs=30)
    assert seen["salvor_drill_age_seconds", orders] == pytest.approx(5 * 3600, abs=30)
    assert seen["salvor_drill_rto_seconds", orders] == 5
    assert seen["salvor_wal_age_seconds", orders] == pytest.approx(30, abs=30)
    assert ("salvor_set_age_seconds", "target=billing") not in seen
    assert not [key for key in seen if key[0] == "salvor_position_age_seconds"]


def test_requests_are_counted_by_route(receiver: httpx.Client) -> None:
    """A path that a stranger made up becomes no label of its own."""
    receiver.get("/health")
    receiver.get("/recover")
    receiver.get("/made/up")
    seen = {k[1:]: v for k, v in scraped(receiver).items() if k[0] == "salvor_receiver_requests_total"}
    assert seen == {
        ("route=/health", "status=200"): 1,
        ("route=/recover", "status=401"): 1,
        ("route=unknown", "status=404"): 1,
    }
