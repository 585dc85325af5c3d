"""Tell what becomes of each event: a table of the first ones in the run, and a file here with all of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.report import artifact_key, log, publish_table
from tasks.stripe.replay_state import DONE, SET_ASIDE, Event

SHOWN = 100
FILES = 20  #: that are kept
Standing = Mapping[tuple[str, str], Mapping[str, Any]]


def told(events: Sequence[Event], standing: Standing) -> list[dict[str, str]]:
    """Describe every event, what needs somebody first."""
    rows = [_row(event, standing.get((event.account, event.id), {})) for event in events]
    return sorted(rows, key=lambda row: (row["is now"] in DONE | SET_ASIDE, row["made"], row["event"]))


def _row(event: Event, now: Mapping[str, Any]) -> dict[str, str]:
    made = datetime.fromtimestamp(event.created, UTC)
    return {
        "event": event.id,
        "type": event.type,
        "object": event.object_id,
        "made": f"{made:%Y-%m-%d %H:%M:%S}",
        "was": event.status or "never received",
        "is now": str(now.get("status", "")),
        "attempts": str(now.get("attempts", event.attempts)),
        "error": now.get("error") or "",
    }


def tell_events(target: str, folder: Path, events: Sequence[Event], standing: Standing) -> str:
    """Write the table and the file; give the path of the file."""
    rows = told(events, standing)
    path = _written(folder, rows)
    shown = f"The first {SHOWN} of {len(rows):,} events" if len(rows) > SHOWN else f"{len(rows):,} events"
    said = f"{shown}, those that need somebody first (times in UTC). All of them: {path}"
    publish_table(artifact_key("stripe-replay", target, "events"), rows[:SHOWN], said)
    log(f"Every event is in {path}")
    return str(path)


def _written(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(folder.glob("events-*.jsonl"))[: -FILES + 1]:
        old.unlink(missing_ok=True)
    path = folder / f"events-{time.time_ns()}.jsonl"
    with open(path, "w", opener=_private) as file:
        file.writelines(_lines(rows))
    return path


def _lines(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
