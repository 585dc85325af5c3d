"""What pgBackRest prints, read: it ends with 0 whatever it finds, so what counts is what it says. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from blocks.backup_records import BackupSet, Taken, lsn

#: Its exit codes that speak of what it read: checksum, format, a file that is missing, decryption.
DAMAGE = {"26", "29", "55", "95"}
_COUNTED = re.compile(r"^\s*backup: (\S+), status: ([a-z -]+), total files checked: (\d+), total valid files: (\d+)")
_COMPLAINT = re.compile(r"INFO:\s+((?:invalid|file missing|other error).*)")
_CODE = re.compile(r"\[0*(\d+)\]")


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Kept(_Said):
    """One backup, as `info --output=json` gives it."""

    label: str
    type: str
    prior: str | None = None
    error: bool = False  #: a page had another checksum
    archive: dict[str, str | None] = Field(default_factory=dict)  #: files of WAL; their names begin with the timeline
    lsn: dict[str, str] = Field(default_factory=dict)
    info: dict[str, Any] = Field(default_factory=dict)
    database: dict[str, int] = Field(default_factory=dict)
    annotation: dict[str, str] = Field(default_factory=dict)

    @property
    def set_id(self) -> str:
        """Name the set that it was taken for; empty: it is none of Salvor's."""
        return self.annotation.get("salvor", "")


class Stanza(_Said):
    """What pgBackRest holds of one cluster."""

    backup: tuple[Kept, ...] = ()
    db: tuple[dict[str, Any], ...] = ()

    def of_set(self, name: str) -> Kept | None:
        """Give what was taken for the set NAME."""
        return next((each for each in reversed(self.backup) if each.set_id == name), None)

    def cluster_of(self, kept: Kept) -> dict[str, Any]:
        """Give version and system identifier of the cluster that a backup is of."""
        return next((each for each in self.db if each.get("id") == kept.database.get("id")), {})


def stanza(text: str) -> Stanza:
    """Read `info --output=json`; raise ValueError when it is something else."""
    found = TypeAdapter(tuple[Stanza, ...]).validate_json(text)
    return found[0] if found else Stanza()


def unfit(kept: Kept, cluster: dict[str, Any], asked: tuple[str, str], system_identifier: str) -> str:
    """Say what is wrong with a backup that was taken just now; empty when nothing is. ASKED: its type, and on what."""
    kind, base = asked
    if kept.error:
        return "a page that it copied has another checksum, so the database itself is damaged"
    if (kept.type, kept.prior or "") != (kind, base):
        return f"it is {kept.type} on top of {kept.prior or 'nothing'}"
    if str(cluster.get("system-id")) != system_identifier:
        return f"it is of another cluster ({cluster.get('system-id')}, this is {system_identifier})"
    if not kept.archive.get("start") or {"start", "stop"} - set(kept.lsn):
        return "it does not say which WAL it needs"
    return ""


def taken(kept: Kept, cluster: dict[str, Any], manifest_sha256: str) -> Taken:
    """Give what is to be known of a backup that is fit."""
    return Taken(
        system_identifier=str(cluster["system-id"]),
        major=int(str(cluster["version"]).split(".", maxsplit=1)[0]),
        timeline=int(str(kept.archive["start"])[:8], 16),
        start_lsn=lsn(kept.lsn["start"]),
        end_lsn=lsn(kept.lsn["stop"]),
        bytes=int(kept.info["repository"]["delta"]),
        restored_bytes=int(kept.info["size"]),
        manifest_sha256=manifest_sha256,
        label=kept.label,
    )


class Verdict(NamedTuple):
    """What `verify` found of one set: nothing wrong, damage, or that it could not look."""

    damage: str = ""
    unread: str = ""


def verdict(text: str, made: BackupSet) -> Verdict:
    """Read what VERIFY printed. A set is good only when it says of each of its files that it is."""
    lines = text.splitlines()
    if lines == ["gone"]:
        return Verdict(damage=f"pgBackRest holds {made.label} no longer")
    said = {word: rest for word, _, rest in (line.partition(": ") for line in lines[-2:])}
    counted = next((m for line in lines if (m := _COUNTED.match(line)) and m[1] == made.label), None)
    if said.get("then") != "kept" or counted is None:
        return Verdict(unread="pgBackRest's repository cannot be reached")
    manifest = said.get("manifest", "")
    # What it is built on is its own, too: their labels begin with that of the full one.
    full = made.label.partition("_")[0]
    complaints = [m[1].strip() for line in lines if (m := _COMPLAINT.search(line)) and full in m[1]]
    unread = [each for each in (manifest, *complaints) if (code := _CODE.search(each)) and code[1] not in DAMAGE]
    if unread or counted[2] == "in-progress":
        return Verdict(unread=(unread or ["pgBackRest says that it is still being taken"])[0])
    if manifest != made.manifest_sha256:
        return Verdict(damage="its manifest is not the one that was written")
    status, checked, valid = counted[2], int(counted[3]), int(counted[4])
    if status == "valid" and checked == valid > 0:
        return Verdict()
    first = f": {complaints[0]}" if complaints else ""
    return Verdict(damage=f"{checked - valid} of its {checked} files are damaged ({status}){first}")
