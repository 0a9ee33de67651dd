"""Alembic's environment and the revisions; `store.migrate` runs them."""
