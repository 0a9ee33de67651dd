"""Heartbeats say where their owner holds its lock, and are told from turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column(
        "drivers",
        sa.Column(
            "server",
            sa.DateTime(timezone=True),
            comment="Start of the server on which the owner holds its lock; null: time alone says if it lives",
        ),
    )
    op.add_column(
        "drivers",
        sa.Column(
            "turn", sa.Boolean, nullable=False, server_default=sa.text("false"), comment="Nobody's: see turns"
        ),
    )
    op.execute("UPDATE drivers SET turn = true WHERE owner = 'anchorer' OR owner LIKE 'collector %'")
