"""What can be seen of a PostgreSQL cluster, and what its procedures are asked to do and plan to do. Pure."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from tasks.model import Frozen, Plan, Policy

Fence = Literal["process", "power", "sync", "route"]


class Receiver(Frozen):
    """The WAL receiver of a standby."""

    status: str
    silence_seconds: float  #: since the last message of the upstream
    ping_seconds: float  #: a healthy upstream is heard at least this often (half of wal_receiver_timeout)
    upstream: str  #: host:port it receives from
    slot: str

    @property
    def streaming(self) -> bool:
        """Whether somebody at the other end is alive, as far as a standby can know."""
        return self.status == "streaming" and self.silence_seconds <= max(1.5, self.ping_seconds + 0.5)


class Sender(Frozen):
    """One row of the primary's pg_stat_replication."""

    name: str
    state: str
    sync: str  #: async, potential, sync or quorum
    lag_bytes: int


class Server(Frozen):
    """What a server said of itself in SQL."""

    in_recovery: bool
    version: int
    system_identifier: str
    timeline: int
    lsn: int  #: a primary's flushed position, in bytes; of a standby's received ones the last that it can apply
    replayed_lsn: int
    received_lsn: int = 0
    receiver: Receiver | None = None
    senders: tuple[Sender, ...] = ()
    slots: tuple[str, ...] = ()
    logical_slots: tuple[str, ...] = ()  #: they do not follow a failover by themselves
    synchronous_standby_names: str = ""
    primary_conninfo_set: bool = False
    may_promote: bool = True
    replay_paused: bool = False
    rewindable: bool = True  #: wal_log_hints or data checksums are on
    prepared_transactions: int = 0
    managers: tuple[str, ...] = ()  #: Patroni, repmgr and their like, as their sessions show

    @property
    def stuck(self) -> bool:
        """Whether it waits for WAL although it has some: what it holds is no continuation of its own history."""
        return self.in_recovery and self.received_lsn > self.lsn


class Host(Frozen):
    """What a node's host said, through its control, of a server that did not answer."""

    reachable: bool
    processes: int = 0
    standby_signal: bool = False
    directory: Literal["present", "missing", "unknown"] = "unknown"
    timeline: int = 0
    checkpoint_lsn: int = 0
    clean: bool = False  #: pg_control says "shut down"
    problem: str = ""


class Node(Frozen):
    """One member of the cluster as it was seen."""

    name: str
    address: str
    answer: Literal["answered", "starting", "refused", "silent", "denied"]
    problem: str = ""
    server: Server | None = None
    host: Host | None = None
    nofailover: bool = False
    can_power_off: bool = False

    @property
    def primary(self) -> bool:
        """Whether it takes writes."""
        return self.server is not None and not self.server.in_recovery

    @property
    def standby(self) -> bool:
        """Whether it answers and is in recovery."""
        return self.server is not None and self.server.in_recovery


class Route(Frozen):
    """Where one pooler or environment file sends the application."""

    name: str
    address: str  #: host:port, or empty when it did not say
    paused: bool = False
    disabled: bool = False
    problem: str = ""


class Recorded(Frozen):
    """The last thing a sentinel wrote down of the primary."""

    node: str
    lsn: int
    timeline: int
    synchronous_standby_names: str
    streaming: tuple[str, ...] = ()  #: the standbys that followed it then; empty when that was not seen
    at: AwareDatetime


class Managed(Frozen):
    """What Patroni says of the cluster it manages."""

    leader: str
    members: tuple[str, ...]
    streaming: tuple[str, ...]
    paused: bool
    ttl_seconds: int
    problem: str = ""


class Cluster(Frozen):
    """One look at everything: nodes, routes, the sentinel's record and the managers."""

    resource: str
    at: AwareDatetime
    nodes: tuple[Node, ...]
    routes: tuple[Route, ...] = ()
    recorded: Recorded | None = None
    managers: tuple[str, ...] = ()
    managed: Managed | None = None
    sync_standbys: int = 0
    poolers_are_the_only_way_in: bool = False
    unfinished: FailoverPlan | None = None  #: of a run that was cut off
    unfinished_switchover: SwitchoverPlan | None = None
    under_way: tuple[str, ...] = ()  #: procedures that were begun and have no end yet

    def node(self, name: str) -> Node:
        """Return the member called NAME."""
        return next(n for n in self.nodes if n.name == name)

    @property
    def primaries(self) -> tuple[Node, ...]:
        """Everybody who takes writes: more than one is split brain."""
        return tuple(n for n in self.nodes if n.primary)

    @property
    def standbys(self) -> tuple[Node, ...]:
        """Everybody who answers and is in recovery."""
        return tuple(n for n in self.nodes if n.standby)


class Activity(Frozen):
    """When the application wrote, as its own rows say."""

    asked: bool  #: whether the block says how to ask
    again: bool = False  #: a row was committed since the move
    longest_gap_seconds: float = 0.0
    problem: str = ""


class FailoverPolicy(Policy):
    """How much may be lost and what counts as a fence."""

    rpo_bytes: int = Field(
        default=1_048_576,
        ge=0,
        description="How many bytes of WAL may be lost at most: the distance of the best standby from the last "
        "position recorded of the primary. 1048576 is 1 MiB, about a thousand small transactions. With synchronous "
        "replication nothing that was acknowledged is lost, whatever this says.",
    )
    fences: tuple[Fence, ...] = Field(
        default=("process", "power", "sync", "route"),
        description="What may be taken as proof that the old primary writes no more, in this order. process: its host "
        "says that it is stopped. power: its fence command, confirmed. sync: the standbys that its commits wait "
        "for are taken off it. route: the poolers are the only way in, and lead elsewhere. With none provable a person "
        "is asked.",
    )
    rto_seconds: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="How many seconds the application may have been unable to write (RTO); longer, and the run ends as "
        "Unverified. Measured from the application's own rows.",
    )
    candidate: str = Field(
        default="",
        description="Standby to prefer when several are equally advanced. Leave it empty to take any.",
    )
    promote_seconds: int = Field(
        default=60, ge=1, le=3600, description="How many seconds to wait until the standby has become the primary."
    )
    follow_seconds: int = Field(
        default=10,
        ge=0,
        le=3600,
        description="How many seconds to wait for the other standbys to follow the new primary.",
    )


class SwitchoverPolicy(Policy):
    """How patient a planned switchover is before it goes back."""

    candidate: str = Field(
        default="", description="Standby that shall take over. Leave it empty to take the most advanced one."
    )
    rto_seconds: float = Field(
        default=5.0,
        gt=0,
        le=86_400,
        description="How many seconds the application may have been unable to write (RTO); longer, and the run ends as "
        "Unverified. Measured from the application's own rows.",
    )
    lag_bytes: int = Field(
        default=16_777_216,
        ge=0,
        description="Refuse when the standby is more bytes of WAL behind than this; 16777216 (16 MiB) is one WAL file.",
    )
    pause_seconds: float = Field(
        default=5.0,
        gt=0,
        le=300,
        description="How many seconds clients may be held until their open transactions end; past that everything is "
        "given back to the old primary.",
    )
    stop_seconds: float = Field(
        default=30.0, gt=0, le=600, description="How many seconds the old primary may take to stop."
    )
    drain_seconds: float = Field(
        default=5.0, gt=0, le=300, description="How many seconds the standby may take to receive the last byte."
    )
    promote_seconds: int = Field(
        default=60, ge=1, le=3600, description="How many seconds to wait until the standby has become the primary."
    )
    follow_seconds: int = Field(
        default=10, ge=0, le=3600, description="How many seconds to wait for the other standbys to follow it."
    )
    min_interval_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        description="Flap breaker: refuse when a switchover moved this target less than so many seconds ago. 0 allows "
        "it at once.",
    )


class RejoinPolicy(Policy):
    """How an old primary, or a standby that fell off, comes back."""

    node: str = Field(
        default="", description="Node to bring back. Leave it empty to take the first that does not follow."
    )
    allow_clone: bool = Field(
        default=True,
        description="On: copy the whole primary when a rewind is impossible; the old directory is kept beside it. Off: "
        "stop there and say so.",
    )
    stream_seconds: int = Field(
        default=60, ge=1, le=86_400, description="How many seconds to wait until the node follows the primary."
    )
    copy_seconds: int = Field(
        default=3600, ge=10, le=604_800, description="How many seconds a rewind or a copy of the primary may take."
    )
    min_interval_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="Flap breaker: refuse when a node of this target was brought back less than so many seconds ago. 0 "
        "allows it at once.",
    )


class MovePlan(Plan):
    """What failover and switchover have in common: writes move from one node to another."""

    mode: Literal["unmanaged", "managed"]
    system_identifier: str
    timeline: int  #: the one being left
    old_primary: str
    candidate: str
    siblings: tuple[str, ...]  #: standbys that shall follow the candidate
    sync_names: str = ""  #: synchronous_standby_names of the new primary
    promote_seconds: int
    follow_seconds: int
    rto_seconds: float


class FailoverPlan(MovePlan):
    """Who is fenced and how, who is promoted, and what that loses."""

    volatile: ClassVar[frozenset[str]] = frozenset({"lost_bytes", "zero_loss", "siblings", "sync_names"})

    fences: tuple[tuple[str, Fence], ...]  #: (node, fence), tried in this order until every node is fenced
    lost_bytes: int | None  #: None when the primary's last position is not known
    rpo_bytes: int
    zero_loss: bool  #: synchronous replication vouches for every acknowledged commit


class SwitchoverPlan(MovePlan):
    """Who hands over to whom, and how long anybody may be held."""

    pause_seconds: float
    stop_seconds: float
    drain_seconds: float


class RejoinPlan(Plan):
    """Which node is brought back to follow whom, and by which way."""

    node: str
    primary: str
    system_identifier: str
    timeline: int  #: the primary's
    way: Literal["point", "start", "rewind", "clone"]
    allow_clone: bool
    sync_names: str = ""
    stream_seconds: int
    copy_seconds: int


Cluster.model_rebuild()
