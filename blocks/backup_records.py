"""What a backup repository holds, as it says so itself. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Kind = Literal["full", "incremental"]


class Record(BaseModel):
    """A value that is read from a repository."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Fact(Record):
    """A number that a restore is compared with: the rows of a table, or what a query of yours returned."""

    name: str  #: database.schema.table, or the name of the query
    before: int  #: before the restore point was set
    after: int  #: after it

    def agrees(self, seen: int) -> bool:
        """Whether SEEN may be the number at the restore point itself."""
        return min(self.before, self.after) <= seen <= max(self.before, self.after)


class KeptFile(Record):
    """One file of the application that was kept with a set. Of its content only a fingerprint is known here."""

    path: str
    mode: str  #: octal, e.g. 600
    bytes: int
    sha256: str  #: of a .env a keyed one, so that values cannot be guessed; empty: it changed while it was kept


class Dump(Record):
    """The logical copy of one database, in the folder `dumps` of a set."""

    file: str
    database: str
    bytes: int
    sha256: str


class MongoArchive(Record):
    """What mongodump has kept, in the folder `dumps` of a set."""

    bytes: int
    sha256: str
    documents: int


class Snapshot(Record):
    """What restic holds of one set: its files and Redis, or the whole repository as it was then."""

    id: str
    at: AwareDatetime
    set_id: str
    what: Literal["files", "offsite"]


class BackupSet(Record):
    """One recovery set: the database's files, and what was kept at the same time."""

    id: str
    kind: Kind
    parent: str = ""  #: id of the set that an incremental one builds on
    system_identifier: str
    major: int  #: version of PostgreSQL; a set is restored by the same one only
    timeline: int
    start_lsn: int  #: WAL is needed from here
    end_lsn: int  #: and at least to here
    began_at: AwareDatetime
    ended_at: AwareDatetime
    bytes: int  #: what the set takes in the repository
    restored_bytes: int  #: what it takes when it is restored
    manifest_sha256: str
    label: str = ""  #: what pgBackRest calls it, which holds its files; empty: they lie beside the record
    restore_point: str = ""  #: name of the point in the WAL that the facts belong to
    facts: tuple[Fact, ...] = ()
    files: tuple[KeptFile, ...] = ()
    dumps: tuple[Dump, ...] = ()
    mongo: MongoArchive | None = None
    redis_keys: int | None = None  #: None when no Redis was kept
    redis_at: AwareDatetime | None = None
    apart: bool = False  #: restic had its place when this set was taken
    missing: tuple[str, ...] = ()  #: what should have been kept with it and was not, and why
    nodes: tuple[str, ...] = ()  #: whose configuration was kept
    app_version: str = ""
    bad: str = Field(default="", description="Why it must not be used.")
    verified_at: AwareDatetime | None = None
    offsite: str = ""  #: restic's snapshot that has a copy of it, or `failed` and why
    in_use: tuple[str, ...] = ()  #: runs that restore from it now

    @property
    def good(self) -> bool:
        """Whether every byte of it was found as it was written, and nothing bad was found since."""
        return self.verified_at is not None and not self.bad


class Taken(Record):
    """What a backup has made, before it is a set."""

    system_identifier: str
    major: int
    timeline: int
    start_lsn: int
    end_lsn: int
    bytes: int
    restored_bytes: int = 0  #: when that is not the same
    manifest_sha256: str
    label: str = ""  #: what pgBackRest calls it


class Receiver(Record):
    """The process that streams WAL into the repository."""

    alive: bool
    silence_seconds: float = 0.0  #: since the newest file of the archive was written
    said: str = ""


class WalFile(Record):
    """One file of WAL in the archive."""

    timeline: int
    number: int  #: position divided by the size of a segment
    partial: bool = False


class Inlet(Record):
    """What streams WAL into a repository, and where it would go on."""

    receivers: tuple[int, ...] = ()  #: processes that stream, or try to
    newest: WalFile | None = None  #: of the newest stream
    frozen: str = ""  #: why nothing may be expired now: somebody restores from it
    said: str = ""  #: the last complaint of the receiver


class Branch(Record):
    """Where a timeline left its parent, as a history file says."""

    timeline: int
    parent: int
    lsn: int


class Archive(Record):
    """The WAL of a repository."""

    segment_bytes: int = 16 * 2**20
    files: tuple[WalFile, ...] = ()
    branches: tuple[Branch, ...] = ()
    receiver: Receiver | None = None


class WalProof(Record):
    """How far WAL can be read from a position, every checksum of it compared."""

    timeline: int
    start_lsn: int
    last_record: int  #: where the last whole record begins; this is what a recovery is told to reach
    end_lsn: int  #: where it ends
    last_commit: AwareDatetime | None = None
    broken: str = ""  #: what is wrong there, when it is no natural end


class Listing(Record):
    """One look at a repository."""

    system_identifier: str = ""  #: empty when nothing was ever kept here
    sets: tuple[BackupSet, ...] = ()
    unreadable: tuple[str, ...] = ()  #: sets whose record is damaged: they cannot be restored, and are never expired
    archive: Archive = Archive()
    free_bytes: int = 0
    frozen: str = ""  #: why nothing may be expired now
    writable: bool = True


def lsn(text: str) -> int:
    """Give a position such as 1/A0 in bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def shown(position: int) -> str:
    """Give a position in bytes as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def set_name(kind: str, at: datetime) -> str:
    """Name a set by when it was begun; names sort as the sets were taken."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{kind}"
