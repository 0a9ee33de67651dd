"""Runs that wait for their workspace, in the order in which they asked."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    op.create_table(
        "waiters",
        sa.Column(
            "run_id", sa.Text(collation="C"), nullable=False, comment="Is to start when it is its turn"
        ),
        sa.Column("workspace_id", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "number",
            sa.BigInteger,
            nullable=False,
            comment="Feed position of its asking: lower ones come first",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_waiters")),
        comment="Runs that wait until their workspace is free.",
    )
    op.create_index(
        op.f("ix_waiters_workspace_id_number"), "waiters", ["workspace_id", "number"], unique=True
    )
    op.execute((_SQL / "0004_flush.sql").read_text(encoding="utf-8"))
