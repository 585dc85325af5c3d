"""The grammar of events: names, ids, resources, and a payload that never lacks a key."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.ledger.records import Run
from flows.triggers.catalogue import procedures
from flows.triggers.events import CONFLICTED, EVENT_NAMES, Signal, event_id, printable, well_named
from tasks.event import Payload, concluded

AT = datetime(2026, 11, 22, 3, 10, tzinfo=UTC)
KEYS = {
    "procedure",
    "target",
    "reason",
    "requested_by",
    "alert",
    "severity",
    "source",
    "dry_run",
    "started_at",
}

UNKNOWN = dict.fromkeys(Run.model_fields)
RUN = Run.model_construct(
    **UNKNOWN | {"id": "r1", "procedure": "postgres-failover", "target": "orders", "started_at": AT}
)


def signal(**said: object) -> Signal:
    return Signal.model_validate(
        {"source": "alertmanager", "fingerprint": "f1", "starts_at": AT, "status": "firing"} | said
    )


def test_names_follow_the_grammar() -> None:
    """Every event is called `<source>.<thing>.<past participle>`, and the first word is its source."""
    for (source, _), name in EVENT_NAMES.items():
        assert re.fullmatch(rf"{source}\.[a-z]+\.([a-z]+ed|lost)", name)
    assert CONFLICTED == "sentinel.primaries.conflicted"


@given(
    kind=st.sampled_from(sorted(EVENT_NAMES)),
    words=st.fixed_dictionaries(
        {},
        optional={
            k: st.text(max_size=30) for k in ("procedure", "target", "reason", "requested_by", "severity", "name")
        },
    ),
    dry_run=st.booleans(),
)
def test_every_event_carries_every_key(kind: tuple[str, str], words: dict[str, str], dry_run: bool) -> None:
    """Whatever a source leaves out, the payload has all its keys, and none is null."""
    made = signal(source=kind[0], status=kind[1], dry_run=dry_run, **words).event(AT)
    body = made.body()
    assert set(body["payload"]) == KEYS == set(Payload.model_fields)
    assert None not in body["payload"].values()
    assert body["payload"]["requested_by"]


def test_an_event_looks_like_this() -> None:
    """One event, whole, as Prefect takes it."""
    said = {"procedure": "postgres-failover", "target": "orders", "reason": "down", "severity": "critical"}
    made = signal(**said).event(AT + timedelta(seconds=1))
    assert made.body() == {
        "id": str(event_id("alertmanager", "f1", AT, "firing")),
        "event": "alertmanager.alert.fired",
        "occurred": "2026-11-22T03:10:01+00:00",
        "resource": {
            "prefect.resource.id": "recovery.postgres.orders",
            "prefect.resource.name": "orders",
            "salvor.procedure": "postgres-failover",
            "salvor.dry-run": "no",
        },
        "related": [],
        "payload": {
            "procedure": "postgres-failover",
            "target": "orders",
            "reason": "down",
            "requested_by": "alertmanager",
            "alert": "f1",
            "severity": "critical",
            "source": "alertmanager",
            "dry_run": False,
            "started_at": "2026-11-22T03:10:00+00:00",
        },
    }


def test_what_a_recovery_leaves_behind_is_an_event_of_the_grammar() -> None:
    """Its name, resource and keys are those of every other event; the same end has the same id, each database its own.

    It names no alert, as what waits for an alert that is over is cancelled.
    """
    first, second = concluded(RUN, ["shop", "billing"], AT)
    assert re.fullmatch(r"[a-z]+\.[a-z]+\.[a-z]+ed", first.name)
    assert (first.resource, second.resource) == ("recovery.consistency.shop", "recovery.consistency.billing")
    assert set(first.body()["payload"]) == KEYS
    assert first.payload.alert == ""
    assert first.payload.procedure in procedures()
    again, _ = concluded(RUN, ["shop", "billing"], AT + timedelta(seconds=9))
    assert (again.id, second.id != first.id) == (first.id, True)


def test_what_only_informs_names_no_procedure() -> None:
    """An event that shall start nothing matches no trigger, and yet is about the right resource."""
    body = signal(source="sentinel", procedure="postgres-failover", target="orders", informs=True).event(AT).body()
    assert body["event"] == CONFLICTED
    assert body["resource"]["prefect.resource.id"] == "recovery.postgres.orders"
    assert body["resource"]["salvor.procedure"] == body["payload"]["procedure"] == ""


def test_the_id_is_the_alerts_and_nothing_elses() -> None:
    """The same alert has the same id in every time zone; each part of its identity makes another one."""
    paris = AT.astimezone(timezone(timedelta(hours=1)))
    same = event_id("grafana", "f1", AT, "firing")
    assert event_id("grafana", "f1", paris, "firing") == same
    others = {
        event_id("generic", "f1", AT, "firing"),
        event_id("grafana", "f2", AT, "firing"),
        event_id("grafana", "f1", AT + timedelta(microseconds=1), "firing"),
        event_id("grafana", "f1", AT, "resolved"),
    }
    assert same not in others
    assert len(others) == 4


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("orders", True),
        ("orders-2", True),
        ("2", True),
        ("", False),
        ("-orders", False),
        ("orders-", False),
        ("a--b", False),
        ("Orders", False),
        ("orders.eu", False),
        ("../orders", False),
        ("orders\n", False),
        ("{{ x }}", False),
        ("a" * 100, True),
        ("a" * 101, False),
    ],
)
def test_names_are_what_prefect_takes(name: str, right: bool) -> None:
    """Nothing that could be a path, a template or a line of its own is a name."""
    assert well_named(name) is right


@given(st.text())
def test_printable_text_stays_on_one_line(text: str) -> None:
    """What a stranger wrote cannot move the cursor of a terminal, nor begin a line in a log."""
    assert printable(text, 50).isprintable()
    assert len(printable(text, 50)) <= 50


def test_the_ledger_keeps_the_message_and_its_identity() -> None:
    """What is stored has the source's own words, cut to what a column holds."""
    kept = signal(severity="s" * 40, procedure="p" * 300, raw={"a": 1}).inbound()
    assert (kept.source, kept.fingerprint, kept.starts_at, kept.status) == ("alertmanager", "f1", AT, "firing")
    assert (len(kept.severity), len(kept.procedure), kept.payload) == (32, 255, {"a": 1})
