"""What the proof of WAL prints, read. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from blocks.backup_records import WalProof, lsn

_SAID = re.compile(r"error in WAL record at (?P<record>[0-9A-F]+/[0-9A-F]+): (?P<why>.*)")
_AT = re.compile(r"(?:at|LSN) ([0-9A-F]+/[0-9A-F]+)")
_FILE = re.compile(r'file "?(?P<name>[0-9A-F]{24})')
_RECORD = re.compile(r"len \(rec/tot\):\s*\d+/\s*(?P<length>\d+),.*lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+)")
_COMMIT = re.compile(r"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def proof(text: str, timeline: int, start: int, end: int | None, segment_bytes: int) -> tuple[WalProof, str, int]:
    """Read what PROVE printed: the proof, and the file and offset at which reading ended, if it ended there."""
    said = {word: rest for word, _, rest in (line.partition(" ") for line in text.splitlines())}
    error, last = said.get("said", ""), said["last"]
    record, commit = _RECORD.search(said.get("record", "")), _COMMIT.search(said.get("commit", ""))
    began = lsn(record["lsn"]) if record else start
    stop = end or (began + int(record["length"]) if record else start)
    broken, offset = "", -1
    if where := _SAID.search(error):
        at = _AT.findall(where["why"])
        stop, began = lsn(at[-1] if at else where["record"]), lsn(where["record"])
        if end is not None or stop // segment_bytes < _number(last, segment_bytes):
            broken = where["why"]
        else:
            offset = stop % segment_bytes
    elif error and (end is not None or not _is_beyond(error, last)):
        broken = error.removeprefix("pg_waldump: error: ")
        stop = began + int(record["length"]) if record else start
    return (
        WalProof(
            timeline=timeline,
            start_lsn=start,
            last_record=max(began, start),
            end_lsn=stop,
            last_commit=datetime.fromisoformat(commit[1]).replace(tzinfo=UTC) if commit else None,
            broken=broken,
        ),
        last,
        offset,
    )


def _is_beyond(error: str, last: str) -> bool:
    """Whether reading ended because there is no file after the last."""
    name = _FILE.search(error)
    return "could not find file" in error and name is not None and name["name"] > last


def _number(name: str, segment_bytes: int) -> int:
    return ((int(name[8:16], 16) << 32) // segment_bytes) + int(name[16:24], 16)
