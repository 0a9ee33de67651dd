"""Runs that have ended can leave the database, as bundles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from interlock.orchestrator.store.schema import program

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "archives",
        sa.Column("run_id", sa.Text(collation="C"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, comment="Number of the last event"),
        sa.Column("head", sa.LargeBinary, nullable=False, comment="Its hash"),
        sa.Column(
            "bundle",
            sa.LargeBinary,
            nullable=False,
            comment="SHA-256 of the bundle that the journal went into",
        ),
        sa.Column("place", sa.Text, nullable=False, comment="Where whoever archived it has put it"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_archives")),
        comment="Append-only: runs whose events are not in the journal any more.",
    )
    op.execute(program("0013_archives.sql"))
