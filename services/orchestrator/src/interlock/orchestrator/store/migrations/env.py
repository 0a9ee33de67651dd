"""Alembic's entry point: runs the revisions on the connection that `store.migrate` passes in."""

from __future__ import annotations

from alembic import context

from interlock.orchestrator.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
