"""The tables of the ledger. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment, always aware and in UTC; SQLite has no time zones, so there it is stored as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# Who may write to a resource now. A row is never deleted: its token only grows, so that a late writer is known.
leases = Table(
    "leases",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("token", BigInteger, nullable=False, default=0),
    Column("run_id", String(64)),
    Column("procedure", String(255)),
    Column("expires_at", Instant),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("flow_run_id", String(64), nullable=False, index=True),
    Column("procedure", String(255), nullable=False),
    Column("deployment_id", String(64)),
    Column("target", String(255), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("requested_by", Text, nullable=False, default=""),
    Column("alert", Text, nullable=False, default=""),
    Column("dry_run", Boolean, nullable=False, default=False),
    Column("attempt", Integer, nullable=False, default=1),
    Column("max_attempts", Integer, nullable=False, default=3),
    Column("resumes", String(64)),
    Column("resource", String(255)),
    Column("key", String(255)),
    Column("token", BigInteger),
    Column("started_at", Instant, nullable=False),
    Column("heartbeat_until", Instant, nullable=False),
    Column("timeout_seconds", Integer, nullable=False, default=300),
    Column("deadline_at", Instant),
    Column("changed_at", Instant),
    Column("ended_at", Instant),
    Column("outcome", String(32)),
    Column("why", Text, nullable=False, default=""),
    Column("report", JSON),
    Column("markdown", Text, nullable=False, default=""),
    Column("reported_at", Instant),
    Column("swept_at", Instant),
    Column("settled_at", Instant),
    Index("ix_runs_open", "ended_at", "swept_at"),
    Index("ix_runs_resource_key", "resource", "key"),
)

# One row per thing that is to be done to a resource, however many runs it takes.
operations = Table(
    "operations",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("procedure", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("run_id", String(64), nullable=False),
    Column("approved_digest", String(64)),
    Column("approved_by", Text),
    Column("approved_comment", Text),
    Column("opened_at", Instant, nullable=False),
    Column("changed_at", Instant),
    Column("closed_at", Instant),
)

steps = Table(
    "steps",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("run_id", String(64), ForeignKey("runs.id"), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("found", Text, nullable=False, default=""),
    Column("error", Text, nullable=False, default=""),
    Column("dry", Boolean, nullable=False, default=False),
    Column("undo", Boolean, nullable=False, default=False, server_default=false()),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("fingerprint", String(255), nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("status", String(16), nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("severity", String(32), nullable=False, default=""),
    Column("procedure", String(255), nullable=False, default=""),
    Column("target", String(255), nullable=False, default=""),
    Column("payload", JSON, nullable=False),
    Column("count", Integer, nullable=False, default=1),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    UniqueConstraint("source", "fingerprint", "starts_at", "status"),
    Index("ix_alerts_fingerprint", "fingerprint"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("key", String(255), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sent_at", Instant),
    Column("last_error", Text, nullable=False, default=""),
    UniqueConstraint("kind", "key"),
    Index("ix_outbox_due", "sent_at", "due_at"),
)

positions = Table(
    "positions",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("node", String(255), primary_key=True),
    Column("lsn", BigInteger, nullable=False),
    Column("timeline", BigInteger, nullable=False),
    Column("synchronous_standby_names", Text, nullable=False, default=""),
    Column("streaming", JSON, nullable=False),
    Column("at", Instant, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("resource", String(255), nullable=False, index=True),
    Column("starts_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False, default=""),
    Column("placed_at", Instant, nullable=False),
    Column("lifted_by", Text),
    Column("lifted_at", Instant),
)

# The rows that a look at an application's database found wrong, rule by rule; a repair touches no others.
findings = Table(
    "findings",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("rule", String(255), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("key", JSON, nullable=False),
    Column("evidence", Text, nullable=False, default=""),
)

# What each look said of each rule: the history of an application's consistency.
examinations = Table(
    "examinations",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("rule", String(255), primary_key=True),
    Column("target", String(255), nullable=False),
    Column("at", Instant, nullable=False),
    Column("found", BigInteger),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("said", Text, nullable=False, default=""),
    Index("ix_examinations_target", "target", "at"),
)

# What a repository held when it was last seen: for the hour in which it cannot be asked.
backups = Table(
    "backups",
    metadata,
    Column("target", String(255), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("content", JSON, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("gone_at", Instant),
)

# How each recovery from a backup went, practised or real.
drills = Table(
    "drills",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("target", String(255), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("set_id", String(64), nullable=False),
    Column("recovered_to", Text, nullable=False, default=""),
    Column("passed", Boolean, nullable=False),
    Column("writable_seconds", Float),
    Column("verified_seconds", Float),
    Column("protected_seconds", Float),
    Column("said", Text, nullable=False, default=""),
    Index("ix_drills_target", "target", "at"),
)

claims = Table(
    "claims",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("by", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
