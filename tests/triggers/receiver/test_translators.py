"""Every golden payload, through its translator: what was captured or documented becomes exactly these signals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.triggers.events import PROCEDURE_LABEL, TARGET_LABEL, Signal
from flows.triggers.receiver import alertmanager, generic, grafana, pagerduty
from flows.triggers.receiver.hooks import understand
from flows.triggers.receiver.limits import Rejection

GOLDEN = Path(__file__).with_name("golden")
NAMED = {"X-Salvor-Procedure": PROCEDURE_LABEL, "X-Salvor-Target": TARGET_LABEL}


def golden(kind: str) -> list[Any]:
    return [pytest.param(p, id=p.stem) for p in sorted(GOLDEN.glob(f"*_{kind}_*.json"))]


def translated(path: Path) -> tuple[Signal, ...]:
    case = json.loads(path.read_text())
    match path.name.split("_", maxsplit=1)[0]:
        case "alertmanager":
            return understand(lambda: alertmanager.translate(case["body"]))
        case "grafana":
            return understand(lambda: grafana.translate(case["body"]))
        case "pagerduty":
            named = {NAMED[h]: value for h, value in case.get("headers", {}).items()}
            return understand(lambda: pagerduty.translate(case["body"], named))
        case _:
            return understand(lambda: generic.translate(case["body"]))


@pytest.mark.parametrize("path", golden("ok"))
def test_it_becomes_these_signals(path: Path) -> None:
    """A message that is in order becomes the signals written beside it, and nothing more."""
    expected = json.loads(path.read_text())["signals"]
    found = translated(path)
    shown = [
        s.model_dump(mode="json", exclude={"raw", "informs", "why_not"}) | {"objection": s.objection} for s in found
    ]
    assert shown == [{"dry_run": False, **e} for e in expected]


@pytest.mark.parametrize("path", golden("ko"))
def test_it_is_turned_down_with_a_sentence(path: Path) -> None:
    """A message that is not in order is a 400 that names the field."""
    with pytest.raises(Rejection) as rejected:
        translated(path)
    assert rejected.value.status == 400
    assert json.loads(path.read_text())["sentence"] in rejected.value.sentence


def test_there_are_golden_messages_of_every_source_and_kind() -> None:
    """No source is without a good and a bad message."""
    kinds = {tuple(p.stem.split("_")[:2]) for p in GOLDEN.glob("*.json")}
    assert kinds == {(s, k) for s in ("alertmanager", "grafana", "pagerduty", "generic") for k in ("ok", "ko")}


def test_a_request_of_a_person() -> None:
    """What POST /recover takes becomes a signal like any other."""
    at = datetime(2026, 11, 22, 3, 10, tzinfo=UTC)
    asked = {"target": "orders", "reason": "down\nagain", "requested_by": "ann", "dry_run": True}
    found = generic.translate_request("postgres-failover", asked, at, "r1")
    assert (found.source, found.fingerprint, found.starts_at, found.status) == ("operator", "r1", at, "firing")
    assert (found.procedure, found.target, found.reason) == ("postgres-failover", "orders", "down again")
    assert (found.requested_by, found.dry_run, found.objection) == ("ann", True, "")
