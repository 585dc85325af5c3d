"""What looks at the rows of applications found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "findings",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("key", sa.JSON, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rule", "number", name="pk_findings"),
    )
    op.create_table(
        "examinations",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(255), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found", sa.BigInteger),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "rule", name="pk_examinations"),
    )
    op.create_index("ix_examinations_target", "examinations", ["target", "at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("examinations")
    op.drop_table("findings")
