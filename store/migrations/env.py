"""Alembic's entry point: runs the scripts on the connection that `runner` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
