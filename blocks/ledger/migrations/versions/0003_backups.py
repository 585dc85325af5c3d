"""What repositories hold, and how practised and real recoveries went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "backups",
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("target", "id", name="pk_backups"),
    )
    op.create_table(
        "drills",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_id", sa.String(64), nullable=False),
        sa.Column("recovered_to", sa.Text, nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("writable_seconds", sa.Float),
        sa.Column("verified_seconds", sa.Float),
        sa.Column("protected_seconds", sa.Float),
        sa.Column("said", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_drills"),
    )
    op.create_index("ix_drills_target", "drills", ["target", "at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("drills")
    op.drop_table("backups")
