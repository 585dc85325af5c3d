"""The ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create every table."""
    _alerts()
    _claims()
    _holds()
    _leases()
    _operations()
    _outbox()
    _positions()
    _runs()
    _steps()


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("steps")
    op.drop_table("runs")
    op.drop_table("positions")
    op.drop_table("outbox")
    op.drop_table("operations")
    op.drop_table("leases")
    op.drop_table("holds")
    op.drop_table("claims")
    op.drop_table("alerts")


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("severity", sa.String(32), nullable=False),
        sa.Column("procedure", sa.String(255), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first_seen_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("source", "fingerprint", "starts_at", "status", name="uq_alerts_source"),
    )
    op.create_index("ix_alerts_fingerprint", "alerts", ["fingerprint"])


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_claims"),
    )


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed_by", sa.Text, nullable=False),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("lifted_by", sa.Text),
        sa.Column("lifted_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
    op.create_index("ix_holds_resource", "holds", ["resource"])


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("procedure", sa.String(255)),
        sa.Column("expires_at", MOMENT),
        sa.PrimaryKeyConstraint("resource", name="pk_leases"),
    )


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("procedure", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("approved_digest", sa.String(64)),
        sa.Column("approved_by", sa.Text),
        sa.Column("approved_comment", sa.Text),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("changed_at", MOMENT),
        sa.Column("closed_at", MOMENT),
        sa.PrimaryKeyConstraint("resource", "key", name="pk_operations"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_at", MOMENT),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("kind", "key", name="uq_outbox_kind"),
    )
    op.create_index("ix_outbox_due", "outbox", ["sent_at", "due_at"])


def _positions() -> None:
    op.create_table(
        "positions",
        sa.Column("resource", sa.String(255), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("lsn", sa.BigInteger, nullable=False),
        sa.Column("timeline", sa.BigInteger, nullable=False),
        sa.Column("synchronous_standby_names", sa.Text, nullable=False),
        sa.Column("streaming", sa.JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("resource", "node", name="pk_positions"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("flow_run_id", sa.String(64), nullable=False),
        sa.Column("procedure", sa.String(255), nullable=False),
        sa.Column("deployment_id", sa.String(64)),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("resumes", sa.String(64)),
        sa.Column("resource", sa.String(255)),
        sa.Column("key", sa.String(255)),
        sa.Column("token", sa.BigInteger),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("heartbeat_until", MOMENT, nullable=False),
        sa.Column("timeout_seconds", sa.Integer, nullable=False),
        sa.Column("deadline_at", MOMENT),
        sa.Column("changed_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("outcome", sa.String(32)),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("report", sa.JSON),
        sa.Column("markdown", sa.Text, nullable=False),
        sa.Column("reported_at", MOMENT),
        sa.Column("swept_at", MOMENT),
        sa.Column("settled_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_flow_run_id", "runs", ["flow_run_id"])
    op.create_index("ix_runs_open", "runs", ["ended_at", "swept_at"])
    op.create_index("ix_runs_resource_key", "runs", ["resource", "key"])


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("found", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("dry", sa.Boolean, nullable=False),
        sa.Column("undo", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_steps"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_steps_run_id"),
    )
    op.create_index("ix_steps_run_id", "steps", ["run_id"])
