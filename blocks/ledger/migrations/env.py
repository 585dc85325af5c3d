"""Alembic runs inside the transaction that `blocks.ledger.migrate` opened."""

from __future__ import annotations

from alembic import context

from blocks.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
