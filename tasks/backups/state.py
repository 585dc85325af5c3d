"""What can be seen of a cluster and its repository, and what the backup procedures plan to do. Pure."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime

from blocks.backup_records import BackupSet, Listing, WalProof
from tasks.model import Frozen, Plan

Chain = tuple[str, ...]  #: ids of the sets that make one, the full one first


class Place(Frozen):
    """One node of the cluster, as far as backups care."""

    name: str
    answers: bool  #: its server answers
    primary: bool = False
    timeline: int = 0
    lsn: int = 0
    system_identifier: str = ""
    bytes: int = 0  #: of all its databases
    summaries: bool = False  #: it keeps WAL summaries, so that an incremental set can be taken
    reachable: bool = False  #: its host is
    directory: Literal["present", "missing", "unknown"] = "unknown"
    processes: int = 0
    major: int = 0  #: of its binaries
    free_bytes: int = 0
    held_bytes: int = 0  #: of an unfinished restore
    sees_repository: bool = False
    nofailover: bool = False
    standby_signal: bool = False
    restored: str = ""  #: stamp of the restore that its directory comes from
    problem: str = ""


class Recorded(Frozen):
    """The last thing a sentinel wrote down of the primary."""

    node: str
    lsn: int
    timeline: int
    at: AwareDatetime


class View(Frozen):
    """One look at a cluster and its repository."""

    resource: str
    target: str
    at: AwareDatetime
    places: tuple[Place, ...]
    listing: Listing | None = None  #: None: the repository could not be read
    problem: str = ""  #: why not
    streams: bool = True  #: WAL is to be streamed into the repository
    engine: Literal["native", "pgbackrest"] = "native"  #: what takes the next set
    recorded: Recorded | None = None
    copy_offsite: str = ""  #: the newest set of which there is a copy, when the repository holds none
    last_seen: tuple[BackupSet, ...] = ()  #: what the repository held when it was last seen
    point: int | None = None  #: where the restore point is that is recovered to; None: nowhere, or none is wanted
    proofs: tuple[WalProof, ...] = ()
    unfinished: RestorePlan | None = None  #: of a restore that was cut off
    unfinished_disaster: DisasterPlan | None = None

    @property
    def primaries(self) -> tuple[Place, ...]:
        """Everybody who takes writes."""
        return tuple(place for place in self.places if place.primary)

    @property
    def system_identifier(self) -> str:
        """Say which cluster this is: as any node says, else as its sets said last; empty when nobody knows."""
        known = (place.system_identifier for place in self.places if place.system_identifier)
        return next(known, self.last_seen[-1].system_identifier if self.last_seen else "")

    def place(self, name: str) -> Place | None:
        """Return the node called NAME."""
        return next((place for place in self.places if place.name == name), None)


class Aim(Frozen):
    """Where a recovery stops: what PostgreSQL is told, and what it means."""

    kind: Literal["lsn", "time", "name", "immediate"]  #: immediate: as soon as the set is consistent
    value: str
    timeline: int
    moment: AwareDatetime | None = None  #: what was committed later is not wanted
    lsn: int | None = None  #: the position that must be reached, where it is known
    latest: bool = False  #: nothing that can be had is left out
    said: str  #: in words


class TakePlan(Plan):
    """What is kept now, and what is expired then."""

    volatile: ClassVar[frozenset[str]] = frozenset(
        {"bytes", "expire", "keep_from", "forget_before", "set_id", "room_first"}
    )

    target: str
    node: str
    set_id: str
    kind: Literal["full", "incremental"]
    parent: str
    system_identifier: str
    timeline: int
    bytes: int  #: about what will be copied
    expire: tuple[str, ...]  #: sets, in the order in which they go
    keep_from: int | None  #: WAL before this position goes with them
    room_first: bool = False  #: they go before the new one is taken: it has no room beside them
    forget_before: AwareDatetime | None = None  #: older files go from restic, and copies of sets that are gone
    stream: bool
    anew: bool  #: the WAL stream has to begin anew: the history has forked since
    take_seconds: int


class RestorePlan(Plan):
    """Which sets, into which place, up to where."""

    volatile: ClassVar[frozenset[str]] = frozenset({"stamp", "recorded", "salvage_from", "chains", "wal_problem"})

    way: Literal["start", "failover", "restore", "dump"] = "restore"
    target: str
    node: str  #: whose directory is replaced; "scratch" in a drill
    chains: tuple[Chain, ...]  #: the best first; the next is taken when one is damaged
    aim: Aim
    system_identifier: str
    stamp: str  #: names what this restore leaves behind
    others: tuple[str, ...] = ()  #: nodes that are stopped first
    running: tuple[str, ...] = ()  #: those whose server answered before
    was_primary: str = ""  #: which of them took writes
    dead: tuple[str, ...] = ()  #: nodes whose host was not reached
    in_place: bool = True
    services: bool = False  #: in a drill: those of the scratch folder are tried
    mongo: bool = False  #: the MongoDB of the set is restored as well
    files_into: str = ""  #: folder on the repository's host into which files are restored
    what: str = ""  #: in a drill: what is practised
    wal_problem: str = ""  #: what is wrong with the WAL after the set
    recorded: Recorded | None = None  #: how far the primary was seen to be
    salvage_from: int = 0  #: WAL from here on is copied out of the damaged directory
    restore_seconds: int = 3600
    recover_seconds: int = 3600
    deep: bool = True
    protect: bool = True

    def essence(self) -> Self:
        """Give what two looks agree on: where all is restored that can be had, that may have grown meanwhile."""
        if not self.aim.latest:
            return self
        end = self.aim.model_copy(update={"value": "", "lsn": None, "said": ""})
        return self.model_copy(update={"aim": end, "key": ""})


class DisasterPlan(RestorePlan):
    """By which way the service is brought back."""

    offsite: bool = False  #: the repository is lost, and is brought back from its copy first
    reconcile: bool = True  #: Stripe is asked what happened in the time that was lost
    assessed: tuple[str, ...]  #: what is dead, one sentence each


class Recovered(Frozen):
    """What a server that was made from a set says of itself."""

    answers: bool
    problem: str = ""
    primary: bool = False
    timeline: int = 0
    system_identifier: str = ""
    last_commit: AwareDatetime | None = None  #: of the application's own rows
    facts: tuple[tuple[str, int], ...] = ()
    facts_problem: str = ""
    damaged: tuple[str, ...] = ()  #: indexes and tables that amcheck complains of
    check_problem: str = ""
    archiving: bool = False
    stopped: str = ""  #: where and why its recovery ended
    kept: BackupSet | None = None  #: the set it was made from
    fallen_back: tuple[str, ...] = ()  #: sets that were damaged
    mongo: str = ""  #: what was said when it was restored
    files: str = ""  #: what of files and Redis is back
    files_wrong: tuple[str, ...] = ()  #: which of them are missing, broken or other than they were
    routes: tuple[tuple[str, bool], ...] = ()  #: pooler or file, and whether it leads here
    services: tuple[tuple[str, str], ...] = ()  #: service, and what is wrong with it; empty: it works
    mute: tuple[str, ...] = ()  #: services that have no way to say whether they work
    writable_seconds: float | None = None  #: since the run began
    verified_seconds: float | None = None
    waited_seconds: float = 0.0  #: of these, for a person to approve


class Brought(Frozen):
    """A run that brings in what happened outside the database meanwhile."""

    procedure: str
    account: str
    run_id: str = ""  #: empty: it was not started
    state: str = ""  #: how it ended; empty while it runs
    succeeded: bool = False


class Protected(Frozen):
    """Whether what was recovered has a backup again, and what Stripe knows."""

    kept: BackupSet | None = None
    streaming: bool = False
    problem: str = ""
    seconds: float | None = None  #: since the run began
    brought: tuple[Brought, ...] = ()


View.model_rebuild()
