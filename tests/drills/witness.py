"""What a drill holds a procedure to: what the shop was promised is there, and nothing else has changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from blocks.ledger.records import Run
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.node import LabNode

SETTINGS = "SELECT name, setting FROM pg_settings WHERE name !~ '^(transaction_|in_hot_standby)' ORDER BY 1"
SLOTS = "SELECT slot_name, slot_type FROM pg_replication_slots ORDER BY 1"
SENDERS = "SELECT application_name, state FROM pg_stat_replication ORDER BY 1"
RECEIVER = "SELECT status, sender_port, slot_name, received_tli FROM pg_stat_wal_receiver"
POSITION = "SELECT coalesce(pg_last_wal_receive_lsn(), '0/0') WHERE pg_is_in_recovery()"
CONFIGURATION = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "standby.signal")
#: What a server says by itself, whatever Salvor does: checkpoints, and standbys that miss a dead primary.
IDLE_TALK = re.compile(
    r"checkpoint|restartpoint|recovery restart point|at log time|could not (connect|receive|send)|Connection (re|time)|"
    r"Is the server running|waiting for WAL|terminating walreceiver|closed the connection|This probably means|"
    r"before or while processing|unexpected EOF|started streaming|invalid (record|magic)|replication terminated|"
    r"End of WAL|fetching timeline|is now a .* synchronous standby|START_REPLICATION"
)
COMES_AND_GOES = ("process", "said", "position")


@dataclass(frozen=True)
class Picture:
    """Everything of a lab that a procedure could change; two pictures of an untouched lab are equal."""

    facts: dict[str, Any]

    @classmethod
    def of(cls, lab: Lab) -> Picture:
        """Look at every server, its files and its log, and at the pooler."""
        facts = {f"{name}: {what}": seen for name, node in lab.nodes.items() for what, seen in _node(node).items()}
        return cls(facts | _pooler(lab))

    def unlike(self, other: Picture, *ignoring: str) -> dict[str, tuple[Any, Any]]:
        """Return what differs, before and after; IGNORING whatever ends in one of these words."""
        keys = [key for key in self.facts if not key.endswith(ignoring)]
        return {key: (self.facts[key], other.facts.get(key)) for key in keys if self.facts[key] != other.facts.get(key)}


def assert_untouched(before: Picture, lab: Lab, *ignoring: str) -> None:
    """Nothing of the lab is other than it was."""
    changes = before.unlike(Picture.of(lab), *ignoring)
    assert not changes, "\n".join(f"{what}: {_change(*values)}" for what, values in changes.items())


def assert_rows_kept(*apps: App) -> None:
    """Every order that anybody was told is placed is there, once, with its one charge."""
    for app in apps:
        told = app.summary()
        assert (told.lost, told.duplicated, told.uncharged) == (0, 0, 0), told


def _change(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        return f"gone {[x for x in before if x not in after]}, new {[x for x in after if x not in before]}"
    return f"{before!r} -> {after!r}"


def _node(node: LabNode) -> dict[str, Any]:
    files = [f"{name}: {line}" for name in CONFIGURATION for line in _lines(node, name)]
    said = [line for line in node.log.read_text().splitlines() if not IDLE_TALK.search(line)]
    known = {
        "process": node.postmaster(),
        "standby": node.in_recovery(),
        "files": files,
        "disk": sorted(path.name for path in node.disk.iterdir()),
        "said": said,
    }
    if known["standby"] is None:
        return known
    asked = {"settings": SETTINGS, "slots": SLOTS, "senders": SENDERS, "receiver": RECEIVER, "position": POSITION}
    return known | {what: node.psql(query) for what, query in asked.items()}


def _lines(node: LabNode, name: str) -> list[str]:
    path = node.data / name
    text = path.read_text() if path.exists() else "(missing)"
    # ALTER SYSTEM puts a warning at the top, even where nothing changes.
    return ["", *(line for line in text.splitlines() if not line.startswith("#"))]


def _pooler(lab: Lab) -> dict[str, Any]:
    if lab.pooler is None:
        return {}
    columns = ("name", "host", "port", "paused", "disabled")
    shown = [[row[column] for column in columns] for row in lab.pooler.admin("SHOW DATABASES")]
    return {"pooler: databases": shown, "pooler: routing": lab.pooler.routing_file.read_text()}


def acts(run: Run) -> list[str]:
    """Name what a run did, in the order in which it did it."""
    return [step["name"] for step in (run.report or {}).get("timeline", [])]
