"""Alembic's entry: uses the connection `db.upgrade` hands over."""

from alembic import context

from ml_backend import tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=tables.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
