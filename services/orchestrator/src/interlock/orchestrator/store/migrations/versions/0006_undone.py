"""Runs of which something was undone are found without reading their journals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index(
        op.f("ix_journal_undone"),
        "journal",
        ["run_id"],
        postgresql_where=sa.text("type IN ('run.rolled_back', 'run.overtaken', 'step.reverted')"),
    )
