"""The run forms of the backup procedures. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.model import Policy

DAY_SECONDS = 86_400


class BackupPolicy(Policy):
    """What is kept, and for how long."""

    kind: Literal["auto", "full", "incremental"] = Field(
        default="auto",
        description="auto: an incremental set on top of the newest good full one, and a full one when that is too old, "
        "or when the server keeps no WAL summaries. full, incremental: exactly that.",
    )
    full_every_days: float = Field(
        default=7.0, gt=0, le=366, description="auto: take a full set when the newest is older than so many days."
    )
    keep_days: float = Field(
        default=30.0,
        gt=0,
        le=3660,
        description="Sets and WAL older than so many days are expired, unless a younger set builds on them.",
    )
    keep_fulls: int = Field(
        default=2, ge=1, le=1000, description="So many good full sets are never expired, however old they are."
    )
    expire: bool = Field(default=True, description="Off: nothing is expired by this run.")
    timeout_seconds: int = Field(
        default=6 * 3600,
        ge=10,
        le=7 * DAY_SECONDS,
        description="How many seconds the run may take. Past that no further step is begun.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=DAY_SECONDS, description="Refuse when a set was taken less than so many seconds ago."
    )


class TargetPolicy(Policy):
    """To which moment is recovered."""

    target: Literal["latest", "time", "lsn", "name", "set"] = Field(
        default="latest",
        description="latest: the last record that can be proven. time: every commit up to `to`, none after it. lsn, "
        "name: a position in the WAL, a restore point. set: the set named in `to`, as it was taken.",
    )
    to: str = Field(
        default="",
        max_length=255,
        description="For time: e.g. 2026-11-29 14:05:00+00:00, with its zone. For lsn: e.g. 1/5A000028. For name and "
        "set: its name. Empty for latest.",
    )
    timeline: int = Field(
        default=0,
        ge=0,
        description="Which history, when there are several: 0 is the one that the primary was last seen on.",
    )
    timeout_seconds: int = Field(
        default=6 * 3600,
        ge=10,
        le=7 * DAY_SECONDS,
        description="How many seconds the run may take, the wait for an approval not counted. Past that no further "
        "step is begun.",
    )
    restore_seconds: int = Field(
        default=3600, ge=10, le=7 * DAY_SECONDS, description="How many seconds copying a set may take."
    )
    recover_seconds: int = Field(
        default=3600, ge=10, le=7 * DAY_SECONDS, description="How many seconds replaying the WAL may take."
    )


class RestorePolicy(TargetPolicy):
    """Where is restored, and to which moment."""

    node: str = Field(
        default="", max_length=63, description="Which node is restored; empty: the one that was the primary last."
    )
    files_into: str = Field(
        default="",
        max_length=255,
        pattern=r"^(/.*[^/])?$",
        description="Folder on the repository's host into which the files and the Redis of the set are restored, "
        "e.g. /srv/restored; it must be empty, or new. Empty: none are.",
    )
    mongo: bool = Field(
        default=False,
        description="Put the MongoDB that was kept with the set into the server of mongo_restore_url, as it was then.",
    )
    accept_hole: bool = Field(
        default=False,
        description="On: when WAL is missing or damaged, restore to the last moment before that. Off: refuse.",
    )
    approval: Literal["auto", "person"] = Field(
        default="person",
        description="person: wait until somebody other than the requester approves the plan, which takes the database "
        "away and brings another one. auto: go on when every guard agrees.",
    )


class DrillPolicy(TargetPolicy):
    """What is practised."""

    what: Literal["newest", "latest", "moment", "target", "dump"] = Field(
        default="newest",
        description="newest: the newest good set as it was taken, so that every row count is compared. latest: that "
        "set and all WAL since. moment: a random second of the last `days` days. "
        "target: what `target` and `to` say. dump: the newest logical copy, loaded into an empty server.",
    )
    days: float = Field(default=7.0, gt=0, le=366, description="moment: how many days back it may lie.")
    services: bool = Field(
        default=False,
        description="Start the services of the scratch folder's block against the copy, and ask each whether it works.",
    )
    overdue_days: float = Field(
        default=8.0, gt=0, le=366, description="Say so when no drill has passed for so many days before this one."
    )
    deep: bool = Field(
        default=True,
        description="Compare every index with its table (amcheck): about 1 s for each GB and processor.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=DAY_SECONDS, description="Refuse when a drill was begun less than so many seconds ago."
    )


class DisasterPolicy(TargetPolicy):
    """How the service is brought back when the database is lost."""

    way: Literal["auto", "start", "failover", "restore"] = Field(
        default="auto",
        description="auto: the cheapest way that loses nothing more than it must: start what is only down, fail over "
        "when a standby can be promoted, else restore. Or exactly one of them.",
    )
    node: str = Field(
        default="", max_length=63, description="Which node is restored; empty: the one that was the primary last."
    )
    accept_hole: bool = Field(
        default=False,
        description="On: when WAL is missing or damaged, recover to the last moment before that without asking. Off: a "
        "person is asked.",
    )
    protect: bool = Field(
        default=True, description="Take a new full set at the end: without one the recovered database has no backup."
    )
    reconcile: bool = Field(
        default=True,
        description="When clients are back, bring in what happened at Stripe in the time that was lost: stripe-replay, "
        "then stripe-resync, for every Stripe account whose database is named in the cluster's block.",
    )
    deep: bool = Field(
        default=True,
        description="Compare every index with its table (amcheck) when clients are back: about 1 s for each GB and "
        "processor.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=DAY_SECONDS, description="Refuse when this was done less than so many seconds ago."
    )
