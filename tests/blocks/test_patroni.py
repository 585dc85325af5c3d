"""Patroni is asked and ordered through its REST API; the payloads are those of Patroni 4.1."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.node_control import PatroniControl
from blocks.patroni import Patroni, PatroniRefused
from tests.blocks.servers import free_port

CLUSTER = {
    "members": [
        {"name": "n1", "role": "leader", "state": "running", "api_url": "http://n1:8008/patroni", "host": "n1",
         "port": 5432, "timeline": 5, "lsn": "0/4000060"},
        {"name": "n2", "role": "sync_standby", "state": "streaming", "api_url": "http://n2:8008/patroni", "host": "n2",
         "port": 5432, "timeline": 5, "lag": 0, "receive_lag": 0, "replay_lag": 0, "tags": {"nofailover": True}},
        {"name": "n3", "role": "replica", "state": "start failed", "host": "n3", "port": 5432, "lag": "unknown"},
    ],
    "scope": "orders", "pause": True,
    "scheduled_switchover": {"at": "2026-11-23T08:00:00+00:00", "from": "n1"},
}  # fmt: skip
HISTORY = [[1, 25623960, "no recovery target specified", "2026-09-23T16:57:57+02:00", "n2"]]
CONFIG = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": True}


class Stage:
    """A small HTTP server that answers as it is told and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {
            "GET /cluster": (200, json.dumps(CLUSTER)),
            "GET /history": (200, json.dumps(HISTORY)),
            "GET /config": (200, json.dumps(CONFIG)),
        }
        self.asked: list[tuple[str, str, object]] = []
        self.stall = 0.0
        self.url = ""


@pytest.fixture
def stage():
    """Give the server, listening."""
    it = Stage()

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            it.asked.append((f"{self.command} {self.path}", self.headers.get("Authorization", ""), body))
            time.sleep(it.stall)
            status, text = it.answers.get(f"{self.command} {self.path}", (404, "not found"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield it
    server.shutdown()
    server.server_close()


def test_the_cluster_is_read_as_patroni_writes_it(stage):
    """Unknown lag is no number, missing fields are empty, new fields do not matter."""
    seen = Patroni(stage.url).cluster()
    assert [(m.name, m.role, m.state, m.timeline, m.lag) for m in seen.members] == [
        ("n1", "leader", "running", 5, None),
        ("n2", "sync_standby", "streaming", 5, 0),
        ("n3", "replica", "start failed", None, None),
    ]
    assert (seen.pause, seen.scheduled_switchover is None, seen.members[1].tags) == (True, False, {"nofailover": True})


def test_history_and_ttl_are_read(stage):
    """What the report quotes, and how long a lost leader keeps its lock."""
    client = Patroni(stage.url)
    assert client.history()[0][:2] == [1, 25623960]
    assert client.ttl_seconds() == 20
    stage.answers["GET /config"] = (200, "{}")
    assert client.ttl_seconds() == 30


@pytest.mark.parametrize(("status", "primary"), [(200, True), (503, False)])
def test_a_member_says_by_its_status_whether_it_is_primary(stage, status, primary):
    """503 of /primary is an answer and no failure."""
    stage.answers["GET /primary"] = (status, json.dumps({"state": "running"}))
    assert Patroni(stage.url).is_primary() is primary


def test_a_switchover_is_ordered_with_leader_and_candidate(stage):
    """Patroni's own words come back, for it may have chosen somebody else."""
    stage.answers["POST /switchover"] = (200, 'Switched over to "n3" instead of "n2"')
    assert Patroni(stage.url).switchover("n1", "n2") == '200 Switched over to "n3" instead of "n2"'
    assert stage.asked == [("POST /switchover", "", {"leader": "n1", "candidate": "n2"})]


def test_a_failover_and_a_pause_are_ordered(stage):
    """The pause is ended by taking the key away."""
    stage.answers |= {"POST /failover": (202, "Failover scheduled"), "PATCH /config": (200, "{}")}
    client = Patroni(stage.url)
    assert client.failover("n2").startswith("202")
    client.set_pause(paused=True)
    client.set_pause(paused=False)
    assert [body for _, _, body in stage.asked] == [{"candidate": "n2"}, {"pause": True}, {"pause": None}]


@pytest.mark.parametrize(
    ("status", "text", "error", "sentence"),
    [
        (412, "switchover is not possible: no good candidates have been found", PatroniRefused, "nothing was changed"),
        (400, "Switchover could be performed only from a specific leader", PatroniRefused, "nothing was changed"),
        (503, "Switchover failed", PatroniRefused, "did not come about"),
        (503, "Switchover status unknown", Ambiguous, "may have been begun"),
        (503, "failed to write failover key into DCS", Ambiguous, "may have been begun"),
        (500, "", Ambiguous, "may have been begun"),
        (401, "no auth", Misconfigured, "correct username and password"),
    ],
)
def test_each_refusal_is_quoted_and_told_from_the_others(stage, status, text, error, sentence):
    """What may have changed decides the error; Patroni's words are in the sentence."""
    stage.answers["POST /switchover"] = (status, text)
    with pytest.raises(error, match=sentence) as caught:
        Patroni(stage.url).switchover("n1", "n2")
    assert f"{status} {text}".strip() in str(caught.value)
    assert getattr(caught.value, "status", status) == status


def test_a_read_that_is_not_answered_is_transient_and_an_order_ambiguous(stage):
    """Patroni may be doing what it did not answer."""
    stage.stall = 1.0
    with pytest.raises(Transient, match="gave no answer to /cluster"):
        Patroni(stage.url).cluster(0.2)
    with pytest.raises(Ambiguous, match="may be doing it"):
        Patroni(stage.url).switchover("n1", "n2", 0.2)


def test_a_member_that_is_gone_was_told_nothing():
    """A connection that was refused carried no order."""
    client = Patroni(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Transient, match="nothing was sent"):
        client.switchover("n1", "n2")


@pytest.mark.parametrize("text", ["<html>", "[]", '{"members": 3}'])
def test_something_that_is_not_patroni_is_misconfigured(stage, text):
    """A wrong port does not become Patroni by waiting."""
    stage.answers["GET /cluster"] = (200, text)
    with pytest.raises(Misconfigured, match="not as Patroni does"):
        Patroni(stage.url).cluster()


def test_the_control_of_a_node_carries_the_login_and_no_sentence_does(stage):
    """The password goes into the header and nowhere else."""
    control = PatroniControl(url=f"{stage.url}/", username="salvor", password=SecretStr("hidden-Secret"))
    client = Patroni.of(control)
    client.cluster()
    assert stage.asked[0][1].startswith("Basic ")
    stage.answers["POST /failover"] = (403, "password=hidden-Secret is wrong")
    with pytest.raises(Misconfigured) as caught:
        client.failover("n2")
    assert "hidden-Secret" not in f"{caught.value} {client!r} {control!r}"


@contextmanager
def proxied(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    yield


def test_a_proxy_of_the_environment_is_not_used(stage, monkeypatch):
    """The nodes are inside; a proxy for the outside must not stand between."""
    with proxied(monkeypatch):
        assert Patroni(stage.url).cluster().members
