"""What can be seen of a PostgreSQL cluster, and what its procedures plan to do. Pure."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from tasks.model import Frozen, Plan
from tasks.postgres.policies import Fence


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
    restart_owed: bool = False  #: the file leads there, but the application was not restarted since
    problem: str = ""

    def leads(self, address: str) -> bool:
        """Whether the application is sent to ADDRESS, as far as this route can tell, and nobody is held."""
        return self.address == address and not (self.paused or self.disabled or self.restart_owed)


class Recorded(Frozen):
    """The last thing a sentinel wrote down of the primary."""

    node: str
    lsn: int
    timeline: int
    synchronous_standby_names: str
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
