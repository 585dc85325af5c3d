"""What the scripts of a repository print, read. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from blocks.backup_records import Archive, BackupSet, Branch, Inlet, Listing, Receiver, WalFile, WalProof, lsn

WAL_NAME = 24
_SAID = re.compile(r"error in WAL record at (?P<record>[0-9A-F]+/[0-9A-F]+): (?P<why>.*)")
_AT = re.compile(r"at ([0-9A-F]+/[0-9A-F]+)")
_RECORD = re.compile(r"len \(rec/tot\):\s*\d+/\s*(?P<length>\d+),.*lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+)")
_COMMIT = re.compile(r"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def listing(text: str, segment_bytes: int) -> Listing:
    """Read what LIST printed. A set whose record cannot be read is listed as bad, never left out."""
    said: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        said[word].append(rest)
    found = {each: dict(part.partition(" ")[::2] for part in said[each]) for each in ("bad", "verified")}
    users: dict[str, list[str]] = defaultdict(list)
    for each in said["use"]:
        name, _, run = each.partition(" ")
        users[name].append(run)
    sets = (_set(each, found, users) for each in said["set"])
    return Listing(
        system_identifier="".join(said["system"]),
        sets=tuple(sorted((each for each in sets if each), key=lambda each: each.id)),
        archive=Archive(
            segment_bytes=segment_bytes,
            files=tuple(sorted(_files(said["wal"], segment_bytes), key=lambda f: (f.timeline, f.number, f.partial))),
            branches=tuple(_branches(said["history"])),
            receiver=_receiver(said["receiver"]),
        ),
        free_bytes=int("".join(said["free"]) or 0),
        frozen="".join(said["frozen"]),
        writable="writable" in said,
    )


def inlet(text: str, segment_bytes: int) -> Inlet:
    """Read what WATCH printed."""
    said: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        said[word].append(rest.strip())
    return Inlet(
        receivers=tuple(int(each) for each in said["receiver"]),
        newest=next(_files(said["wal"], segment_bytes), None),
        frozen="".join(said["frozen"]),
        said="".join(said["said"]),
    )


def _set(text: str, found: dict[str, dict[str, str]], users: dict[str, list[str]]) -> BackupSet | None:
    try:
        content = json.loads(text)
        name = content["id"]
        content |= {"bad": found["bad"].get(name, ""), "verified_at": found["verified"].get(name)}
        return BackupSet.model_validate(content | {"in_use": users.get(name, [])})
    except (ValueError, KeyError, ValidationError):
        return None


def _files(names: list[str], segment_bytes: int) -> Iterator[WalFile]:
    for name in dict.fromkeys(names):
        bare = name.removesuffix(".partial")
        if len(bare) == WAL_NAME:
            number = ((int(bare[8:16], 16) << 32) // segment_bytes) + int(bare[16:24], 16)
            yield WalFile(timeline=int(bare[:8], 16), number=number, partial=bare != name)


def _branches(lines: list[str]) -> Iterator[Branch]:
    for line in dict.fromkeys(lines):
        words = line.split()
        if len(words) >= 3:  # noqa: PLR2004  # timeline, parent, where they parted
            yield Branch(timeline=int(words[0], 16), parent=int(words[1]), lsn=lsn(words[2]))


def _receiver(lines: list[str]) -> Receiver | None:
    if not lines:
        return None
    alive, silence, *said = lines[-1].split(" ", 2)
    return Receiver(alive=alive == "yes", silence_seconds=float(silence), said=" ".join(said))


def proof(text: str, timeline: int, start: int, end: int | None, segment_bytes: int) -> tuple[WalProof, str, int]:
    """Read what PROVE printed: the proof, and the file and offset at which reading ended, if it ended there."""
    said = {word: rest for word, _, rest in (line.partition(" ") for line in text.splitlines())}
    error, last = said.get("said", ""), said["last"]
    record, commit = _RECORD.search(said.get("record", "")), _COMMIT.search(said.get("commit", ""))
    began = lsn(record["lsn"]) if record else start
    stop = end or (began + int(record["length"]) if record else start)
    broken, offset = "", -1
    if where := _SAID.search(error):
        at = _AT.search(where["why"])
        stop = lsn(at[1]) if at else lsn(where["record"])
        began = lsn(where["record"])
        if end is not None or stop // segment_bytes < _number(last, segment_bytes):
            broken = where["why"]
        else:
            offset = stop % segment_bytes
    elif error and (end is not None or "could not find file" not in error):
        broken = error.removeprefix("pg_waldump: error: ")
    return (
        WalProof(
            timeline=timeline,
            start_lsn=start,
            last_record=began,
            end_lsn=stop,
            last_commit=datetime.fromisoformat(commit[1]).replace(tzinfo=UTC) if commit else None,
            broken=broken,
        ),
        last,
        offset,
    )


def _number(name: str, segment_bytes: int) -> int:
    return ((int(name[8:16], 16) << 32) // segment_bytes) + int(name[16:24], 16)


def wal_name(timeline: int, position: int, segment_bytes: int) -> str:
    """Name the file that holds POSITION."""
    high, low = position >> 32, (position & 0xFFFFFFFF) // segment_bytes
    return f"{timeline:08X}{high:08X}{low:08X}"
