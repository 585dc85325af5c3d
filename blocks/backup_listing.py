"""What the scripts of a repository print, read. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from blocks.backup_records import Archive, BackupSet, Branch, Inlet, Listing, Receiver, WalFile, WalProof, lsn

WAL_NAME = 24
_SAID = re.compile(r"error in WAL record at (?P<record>[0-9A-F]+/[0-9A-F]+): (?P<why>.*)")
_AT = re.compile(r"(?:at|LSN) ([0-9A-F]+/[0-9A-F]+)")
_SEAL = re.compile(r',"seal":"[0-9a-f]{64}"}$')
_FILE = re.compile(r'file "?(?P<name>[0-9A-F]{24})')
_RECORD = re.compile(r"len \(rec/tot\):\s*\d+/\s*(?P<length>\d+),.*lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+)")
_COMMIT = re.compile(r"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def listing(text: str, segment_bytes: int) -> Listing:
    """Read what LIST printed. A set whose record is damaged is named, never left out."""
    said: dict[str, list[str]] = defaultdict(list)
    kept: dict[str, dict[str, str]] = defaultdict(dict)
    users: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line.startswith("sets/"):
            path, _, rest = line.partition(":")
            _, name, what, *run = path.split("/")
            kept[what][name] = rest
            users[name] += run
        else:
            word, _, rest = line.partition(" ")
            said[word].append(rest)
    system = "".join(said["system"])
    sets = [made for name in sorted(kept["set.json"]) if (made := _set(name, kept, users, system))]
    files = sorted(_files(said["wal"], segment_bytes))
    return Listing(
        system_identifier=system,
        sets=tuple(sets),
        unreadable=tuple(sorted({*kept["set.json"]} - {each.id for each in sets})),
        archive=Archive.model_validate(
            {
                "segment_bytes": segment_bytes,
                "files": [{"timeline": t, "number": n, "partial": p} for t, n, p in files],
                "branches": tuple(_branches(said["history"])),
                "receiver": _receiver(said["receiver"]),
            }
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
        newest=next((_wal_file(each) for each in _files(said["wal"], segment_bytes)), None),
        frozen="".join(said["frozen"]),
        said="".join(said["said"]),
    )


def _wal_file(found: tuple[int, int, bool]) -> WalFile:
    return WalFile(timeline=found[0], number=found[1], partial=found[2])


def _set(name: str, kept: dict[str, dict[str, str]], users: dict[str, list[str]], system: str) -> BackupSet | None:
    content = _record(kept["set.json"][name])
    content |= _record(kept["facts.json"][name]) if name in kept["facts.json"] else {}
    content |= {"bad": kept["bad"].get(name, ""), "verified_at": kept["verified"].get(name)}
    try:
        made = BackupSet.model_validate(content | {"offsite": kept["offsite"].get(name, ""), "in_use": users[name]})
    except ValidationError:
        return None
    if system and made.system_identifier != system:
        return made.model_copy(update={"bad": f"it is of another cluster ({made.system_identifier})"})
    return made if made.id == name else None


def _record(text: str) -> dict[str, Any]:
    """Read a record; one that is damaged holds nothing."""
    seal = _SEAL.search(text)
    if seal and seal[0] != _seal(text[: seal.start()]):
        return {}
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def sealed(record: str) -> str:
    """Add a checksum to the RECORD of a set: a bit that is the other one would lead a recovery astray."""
    return record[:-1] + _seal(record[:-1])


def _seal(text: str) -> str:
    return f',"seal":"{sha256(text.encode()).hexdigest()}"}}'


def _files(names: list[str], segment_bytes: int) -> Iterator[tuple[int, int, bool]]:
    for name in dict.fromkeys(names):
        bare = name.removesuffix(".partial")
        if len(bare) == WAL_NAME:
            number = ((int(bare[8:16], 16) << 32) // segment_bytes) + int(bare[16:24], 16)
            yield int(bare[:8], 16), number, bare != name


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


def wal_name(timeline: int, position: int, segment_bytes: int) -> str:
    """Name the file that holds POSITION."""
    high, low = position >> 32, (position & 0xFFFFFFFF) // segment_bytes
    return f"{timeline:08X}{high:08X}{low:08X}"
