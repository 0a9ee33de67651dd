"""The installation's secret: one row, filled by the first orchestrator that starts.

It is not made here: a migration can be run by a person whose session is logged.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column(
            "secret",
            sa.LargeBinary,
            nullable=False,
            comment="Keys that executors know drivers by derive from it",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one_row")),
        sa.CheckConstraint("octet_length(secret) = 32", name=op.f("ck_installation_secret")),
        comment="One row: what the orchestrators on this database share and tell nobody.",
    )
