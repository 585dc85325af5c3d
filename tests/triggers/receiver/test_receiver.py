"""The receiver over real HTTP: who is let in, what is stored, what reaches Prefect, and what happens in trouble."""

from __future__ import annotations

import copy
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from blocks.intake import Intake
from blocks.ledger import alerts, outbox, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import NewRun
from blocks.ledger.schema import alerts as alerts_table
from blocks.prefect_api import PrefectApi
from flows.triggers.events import event_id
from flows.triggers.receiver.application import MISTAKES_AT_ONCE, build
from flows.triggers.receiver.limits import LARGEST_BODY_BYTES
from flows.triggers.receiver.signatures import sign
from tests.triggers.conftest import KNOWN, OPERATOR, SCRAPER, SECRETS, TOKEN, Recorder, Served, eventually

GOLDEN = Path(__file__).with_name("golden")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PERSON = {"Authorization": f"Bearer {OPERATOR}"}
ASKED = {"target": "orders", "reason": "it is down", "requested_by": "ann"}


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())["body"]


def signed(source: str, body: bytes, age: int = 0) -> dict[str, str]:
    stamp = str(int(time.time()) - age)
    return {
        "pagerduty": {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={sign(SECRETS['pagerduty'], body)}"},
        "grafana": {"X-Grafana-Alerting-Signature": sign(SECRETS["grafana"], body)},
        "generic": {
            "X-Salvor-Timestamp": stamp,
            "X-Salvor-Signature": "v1=" + sign(SECRETS["generic"], f"{stamp}.".encode() + body),
        },
    }[source]


def rows(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.execute(select(func.count()).select_from(alerts_table)).scalar_one()


# --- what comes in


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("alertmanager_ok_labels", "alertmanager.alert.fired"),
        ("grafana_ok_firing", "grafana.alert.fired"),
        ("grafana_ok_resolved", "grafana.alert.resolved"),
        ("pagerduty_ok_custom_fields", "pagerduty.incident.triggered"),
        ("generic_ok_firing", "generic.alert.fired"),
    ],
)
def test_an_alert_becomes_an_event(
    receiver: httpx.Client, prefect: Recorder, ledger: Ledger, name: str, event: str
) -> None:
    """A message of each source is stored, answered, and reaches Prefect as one event."""
    source, body = name.partition("_")[0], json.dumps(golden(name)).encode()
    headers = BEARER if source == "alertmanager" else signed(source, body)
    answer = receiver.post(f"/hooks/{source}", content=body, headers=headers)
    assert (answer.status_code, answer.json()["stored"]) == (200, 1)
    (sent,) = eventually(lambda: prefect.events)
    assert sent["event"] == event
    assert sent["resource"]["prefect.resource.id"] == "recovery.postgres.orders"
    eventually(lambda: not outbox.undelivered(ledger))


def test_the_captured_deliveries_start_nothing(receiver: httpx.Client, prefect: Recorder, ledger: Ledger) -> None:
    """What Alertmanager really sent, naming no procedure, is stored and said to start nothing."""
    answer = receiver.post("/hooks/alertmanager", json=golden("alertmanager_ok_captured_group"), headers=BEARER).json()
    assert (answer["stored"], answer["duplicates"]) == (2, 0)
    assert {a["said"] for a in answer["alerts"]} == {"stored, no procedure named (label salvor_procedure)"}
    assert rows(ledger) == 2
    assert prefect.events == [] == outbox.undelivered(ledger)


def test_an_unknown_procedure_is_kept_and_said(receiver: httpx.Client, prefect: Recorder) -> None:
    """A label with a typing error starts nothing; the answer says which procedures there are."""
    body = golden("alertmanager_ok_labels")
    body["alerts"][0]["labels"]["salvor_procedure"] = "postgres-failovr"
    said = receiver.post("/hooks/alertmanager", json=body, headers=BEARER).json()["alerts"][0]["said"]
    assert said == "stored, there is no procedure 'postgres-failovr'; there are: postgres-failover, postgres-rejoin"
    assert prefect.events == []


def test_five_deliveries_are_one_event(receiver: httpx.Client, prefect: Recorder, ledger: Ledger) -> None:
    """The same alert five times is stored once, counted five times, and sent once."""
    body = golden("alertmanager_ok_labels")
    answers = [receiver.post("/hooks/alertmanager", json=body, headers=BEARER) for _ in range(5)]
    assert [a.status_code for a in answers] == [200] * 5
    assert [a.json()["duplicates"] for a in answers] == [0, 1, 1, 1, 1]
    assert answers[-1].json()["alerts"][0]["count"] == 5
    eventually(lambda: not outbox.undelivered(ledger))
    assert len(prefect.events) == 1
    assert rows(ledger) == 1


def test_the_event_is_at_prefect_at_once(receiver: httpx.Client, prefect: Recorder) -> None:
    """From POST to event lies no sweep and no poll: none runs here, and every event arrives."""
    took = []
    for n in range(10):
        body = golden("alertmanager_ok_labels")
        body["alerts"][0]["fingerprint"] = f"f{n}"
        began = time.monotonic()
        receiver.post("/hooks/alertmanager", json=body, headers=BEARER)
        eventually(lambda n=n: len(prefect.events) > n)
        took.append(prefect.calls[-1][0] - began)
    print(f"POST to event: median {sorted(took)[5] * 1000:.1f} ms")  # noqa: T201 - a figure for the report


# --- who is let in


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/hooks/alertmanager"),
        ("POST", "/hooks/grafana"),
        ("POST", "/hooks/pagerduty"),
        ("POST", "/hooks/generic"),
        ("POST", "/recover/postgres-failover"),
        ("GET", "/recover"),
        ("POST", "/hold"),
        ("POST", "/lift"),
        ("GET", "/metrics"),
    ],
)
@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic YTpi", f"Bearer {TOKEN}x"])
def test_nobody_comes_in_without_a_key(
    receiver: httpx.Client, ledger: Ledger, method: str, path: str, header: str
) -> None:
    """Every route but /health answers 401 to a stranger, and nothing is stored."""
    answer = receiver.request(
        method, path, headers={"Authorization": header}, content=b"{}" if method == "POST" else b""
    )
    assert answer.status_code == 401
    assert len(answer.json()["error"]) > 20
    assert rows(ledger) == 0


def test_a_token_opens_only_its_own_door(receiver: httpx.Client) -> None:
    """An alerting system cannot ask for a recovery by name, nor a scraper deliver alerts."""
    assert receiver.post("/recover/postgres-failover", json=ASKED, headers=BEARER).status_code == 401
    assert receiver.get("/metrics", headers=PERSON).status_code == 401
    scraper = {"Authorization": f"Bearer {SCRAPER}"}
    assert receiver.post("/hooks/alertmanager", json={}, headers=scraper).status_code == 401
    assert receiver.get("/metrics", headers=scraper).status_code == 200


@pytest.mark.parametrize("age", [400, -400])
def test_an_old_message_is_not_taken_again(receiver: httpx.Client, ledger: Ledger, age: int) -> None:
    """A signature outside the window of 300 s is refused although it is right."""
    body = json.dumps(golden("generic_ok_firing")).encode()
    answer = receiver.post("/hooks/generic", content=body, headers=signed("generic", body, age=age))
    assert (answer.status_code, rows(ledger)) == (401, 0)
    assert "set your clock" in answer.json()["error"]


def test_a_changed_body_is_not_taken(receiver: httpx.Client, ledger: Ledger) -> None:
    """One byte more than was signed is another message."""
    for source in ("generic", "pagerduty", "grafana"):
        answer = receiver.post(f"/hooks/{source}", content=b"{} ", headers=signed(source, b"{}"))
        assert answer.status_code == 401
    assert rows(ledger) == 0


def test_guessing_is_slowed_down(receiver: httpx.Client) -> None:
    """After twenty wrong tokens the caller must wait, and is told for how long."""
    answers = [receiver.get("/recover", headers={"Authorization": f"Bearer {n}"}) for n in range(MISTAKES_AT_ONCE + 2)]
    assert [a.status_code for a in answers[:MISTAKES_AT_ONCE]] == [401] * MISTAKES_AT_ONCE
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert receiver.get("/recover", headers=PERSON).status_code == 200


def test_a_flood_is_bounded(receiver: httpx.Client) -> None:
    """More calls than are sane get 429 with Retry-After, before anything is read."""
    seen = {receiver.post("/hooks/alertmanager", content=b"", headers=BEARER).status_code for _ in range(400)}
    assert seen == {400, 429}


# --- what is wrong with a body


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*_ko_*.json")), ids=lambda p: p.stem)
def test_a_message_that_is_not_in_order(receiver: httpx.Client, ledger: Ledger, path: Path) -> None:
    """A 400 with the field's name, and nothing stored: Alertmanager does not repeat a 4xx."""
    source = path.stem.split("_", maxsplit=1)[0]
    body = json.dumps(golden(path.stem)).encode()
    headers = BEARER if source == "alertmanager" else signed(source, body)
    answer = receiver.post(f"/hooks/{source}", content=body, headers=headers)
    assert (answer.status_code, rows(ledger)) == (400, 0)
    assert json.loads(path.read_text())["sentence"] in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"a": NaN}', b"\xff", b'{"a":' * 50_000])
def test_garbage(receiver: httpx.Client, ledger: Ledger, body: bytes) -> None:
    """Garbage is a 400 with a sentence."""
    answer = receiver.post("/hooks/alertmanager", content=body, headers=BEARER)
    assert (answer.status_code, rows(ledger)) == (400, 0)
    assert answer.json()["error"].startswith(("The body", "This is not"))


def test_an_oversized_body_is_cut_off_while_it_is_read(receiver: httpx.Client, ledger: Ledger) -> None:
    """A body without an announced length is measured as it comes, and never read to its end."""
    taken = 0

    def endless() -> Any:
        nonlocal taken
        for _ in range(10_000):
            taken += 65_536
            yield b" " * 65_536

    with suppress(httpx.TransportError):  # that the receiver hung up before the last byte is as good an answer
        assert receiver.post("/hooks/alertmanager", content=endless(), headers=BEARER).status_code == 413
    assert taken < 20 * LARGEST_BODY_BYTES
    answer = receiver.post("/hooks/alertmanager", content=b"x" * (LARGEST_BODY_BYTES + 1), headers=BEARER)
    assert (answer.status_code, rows(ledger)) == (413, 0)


def test_a_caller_who_hangs_up_stores_nothing(receiver: httpx.Client, ledger: Ledger) -> None:
    """Half a body is no alert."""
    url = httpx.URL(receiver.base_url)
    with socket.create_connection((url.host, url.port or 80)) as raw:
        raw.sendall(
            f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n".encode()
        )
        raw.sendall(b'Content-Length: 100\r\n\r\n{"version": "4"')
    assert receiver.get("/health").status_code == 200
    assert rows(ledger) == 0


# --- the end of an alert


def test_a_resolved_alert_withdraws_what_was_not_sent(
    receiver: httpx.Client, prefect: Recorder, ledger: Ledger
) -> None:
    """When Prefect was away and the alert is over before it came back, the event is never sent."""
    prefect.answer["/api/events"] = (503, {"detail": "away"})
    firing = golden("alertmanager_ok_labels")
    receiver.post("/hooks/alertmanager", json=firing, headers=BEARER)
    eventually(lambda: prefect.events)
    (waiting,) = outbox.undelivered(ledger)
    resolved = copy.deepcopy(firing)
    resolved["alerts"][0]["status"] = "resolved"
    receiver.post("/hooks/alertmanager", json=resolved, headers=BEARER)
    assert alerts.is_resolved(ledger, "beec33bac19a48bb")
    left = outbox.undelivered(ledger)
    assert waiting.key not in {p.key for p in left}
    assert [p.payload["event"] for p in left] == ["alertmanager.alert.resolved"]


def test_a_resolved_alert_cancels_the_runs_that_have_not_begun(receiver: httpx.Client, prefect: Recorder) -> None:
    """Only the runs of this alert, and only those that no worker has begun."""
    prefect.answer["/api/flow_runs/filter"] = (
        200,
        [
            {"id": "1", "name": "mine", "parameters": {"alert": "beec33bac19a48bb"}},
            {"id": "2", "name": "another's", "parameters": {"alert": "other"}},
            {"id": "3", "name": "nobody's", "parameters": {}},
        ],
    )
    body = golden("alertmanager_ok_labels")
    body["alerts"][0]["status"] = "resolved"
    receiver.post("/hooks/alertmanager", json=body, headers=BEARER)
    (state,) = eventually(lambda: prefect.posted("flow_runs/1/set_state"))
    assert state["state"]["type"] == "CANCELLED"
    assert not prefect.posted("flow_runs/2/set_state")
    (asked,) = prefect.posted("flow_runs/filter")
    assert asked["flow_runs"]["state"]["type"]["any_"] == ["SCHEDULED", "PENDING"]


def test_a_run_that_has_begun_is_left_to_its_gate(receiver: httpx.Client, prefect: Recorder, ledger: Ledger) -> None:
    """A run that died after its first act and is being started again must not be cancelled by the alert's end."""
    new = NewRun(flow_run_id="r1", procedure="postgres-failover", target="orders", alert="beec33bac19a48bb")
    runs.register(ledger, new)
    body = golden("alertmanager_ok_labels")
    body["alerts"][0]["status"] = "resolved"
    receiver.post("/hooks/alertmanager", json=body, headers=BEARER)
    eventually(lambda: prefect.events)
    receiver.get("/health")
    assert prefect.posted("flow_runs/filter") == []


def test_an_end_that_overtakes_its_beginning(receiver: httpx.Client, prefect: Recorder) -> None:
    """When the resolved message is delivered first, the firing one starts nothing; the next episode does."""
    body = golden("alertmanager_ok_labels")
    for status, start in (("resolved", "10"), ("firing", "10"), ("firing", "20")):
        body["alerts"][0] |= {"status": status, "startsAt": f"2026-11-22T03:{start}:00Z"}
        said = receiver.post("/hooks/alertmanager", json=body, headers=BEARER).json()["alerts"][0]["said"]
        assert (said == "stored, its end was told before") is ((status, start) == ("firing", "10"))
    eventually(lambda: len(prefect.events) == 2)
    assert {e["event"] for e in prefect.events} == {"alertmanager.alert.resolved", "alertmanager.alert.fired"}


# --- when something is out of order


def test_without_prefect_the_event_waits_in_the_outbox(ledger: Ledger, intake: Intake) -> None:
    """The answer is the same whether Prefect is there or not: the alert is safe."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        served = Served(build(ledger, intake, PrefectApi(f"http://127.0.0.1:{nobody.getsockname()[1]}/api"), KNOWN))
        answer = httpx.post(served.url + "/hooks/alertmanager", json=golden("alertmanager_ok_labels"), headers=BEARER)
        served.close()
    assert (answer.status_code, answer.json()["stored"]) == (200, 1)
    (waiting,) = outbox.undelivered(ledger)
    began = datetime(2026, 11, 22, 3, 10, 37, 798_000, tzinfo=UTC)
    assert waiting.payload["id"] == str(event_id("alertmanager", "beec33bac19a48bb", began, "firing"))


def test_without_its_ledger_it_asks_to_be_told_again(tmp_path: Path, intake: Intake, prefect: Recorder) -> None:
    """An alert that cannot be stored is a 503, which Alertmanager repeats; nothing reaches Prefect."""
    served = Served(build(Ledger(url=f"sqlite:///{tmp_path}/empty.db"), intake, PrefectApi(prefect.url), KNOWN))
    answer = httpx.post(served.url + "/hooks/alertmanager", json=golden("alertmanager_ok_labels"), headers=BEARER)
    served.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "Nothing was stored" in answer.json()["error"]
    assert prefect.events == []


def test_the_auth_string_is_used(ledger: Ledger, intake: Intake, prefect: Recorder) -> None:
    """A Prefect server with an auth string gets it as basic authentication."""
    served = Served(build(ledger, intake, PrefectApi(prefect.url, "admin:p:w"), KNOWN))
    httpx.post(served.url + "/hooks/alertmanager", json=golden("alertmanager_ok_labels"), headers=BEARER)
    eventually(lambda: prefect.events)
    served.close()
    assert prefect.calls[0][3] == "Basic YWRtaW46cDp3"


def test_five_alerts_at_once_through_two_receivers(
    ledger: Ledger, intake: Intake, prefect: Recorder, receiver: httpx.Client
) -> None:
    """Two receivers behind a load balancer share the ledger: of five deliveries at once one is new."""
    other = Served(build(ledger, intake, PrefectApi(prefect.url), KNOWN))
    urls = [str(receiver.base_url), other.url]
    with ThreadPoolExecutor(5) as pool:
        sent = [
            pool.submit(
                httpx.post,
                urls[n % 2] + "/hooks/alertmanager",
                json=golden("alertmanager_ok_labels"),
                headers=BEARER,
                timeout=20,
            )
            for n in range(5)
        ]
        answers = [s.result() for s in sent]
    assert [a.status_code for a in answers] == [200] * 5
    assert sum(a.json()["stored"] for a in answers) == 1
    eventually(lambda: not outbox.undelivered(ledger))
    assert len({e["id"] for e in prefect.events}) == 1 == rows(ledger)
    other.close()
