"""What the scripts of a repository print, read. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any

from blocks.backup_records import Archive, BackupSet, Branch, Fact, Inlet, Listing, Receiver, WalFile, lsn

WAL_NAME = 24
_SEAL = ',"seal":"'


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
    record, found = kept["set.json"][name], _facts(facts) if (facts := kept["facts.json"].get(name)) else {}
    found |= {"bad": kept["bad"].get(name, ""), "offsite": kept["offsite"].get(name, "")}
    try:
        made = BackupSet.model_validate_json(record if _is_whole(record) else "")
        if verified := kept["verified"].get(name):
            found["verified_at"] = datetime.fromisoformat(verified)
    except ValueError:
        return None
    if system and made.system_identifier != system:
        found["bad"] = f"it is of another cluster ({made.system_identifier})"
    return made.model_copy(update=found | {"in_use": tuple(users.get(name, ()))}) if made.id == name else None


def _facts(record: str) -> dict[str, Any]:
    """Read what was counted; a record that is damaged holds nothing."""
    try:
        counted = json.loads(record if _is_whole(record) else "")["facts"]
        return {"facts": tuple(Fact.model_validate(each) for each in counted)}
    except (ValueError, LookupError, TypeError):
        return {}


def _is_whole(record: str) -> bool:
    """Whether a record is as it was written; those of before had no checksum."""
    text, seal, _ = record.rpartition(_SEAL)
    return not seal or record == text + _seal(text)


def sealed(record: str) -> str:
    """Add a checksum to the RECORD of a set: a bit that is the other one would lead a recovery astray."""
    return record[:-1] + _seal(record[:-1])


def _seal(text: str) -> str:
    return f'{_SEAL}{sha256(text.encode()).hexdigest()}"}}'


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


def wal_name(timeline: int, position: int, segment_bytes: int) -> str:
    """Name the file that holds POSITION."""
    high, low = position >> 32, (position & 0xFFFFFFFF) // segment_bytes
    return f"{timeline:08X}{high:08X}{low:08X}"
