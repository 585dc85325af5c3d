"""The forms of the PostgreSQL procedures: how much may be lost, how long anybody waits, what counts as proof. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.model import Policy

Fence = Literal["process", "power", "sync", "route"]


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
