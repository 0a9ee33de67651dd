"""Who may decide in whose place, and until when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "delegations",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("from_subject", sa.Text, nullable=False, comment="Whose right to decide it is"),
        sa.Column("to_subject", sa.Text, nullable=False, comment="Who may use it"),
        sa.Column(
            "scope",
            postgresql.JSONB,
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
            comment="Labels a workspace must have: those of whoever gave it, then",
        ),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column(
            "authentication", sa.Text, nullable=False, comment="How whoever gave it proved who they are"
        ),
        sa.Column("request_id", sa.Text, comment="What asked for it; null where the request had no id"),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME),
        sa.Column("revoked_by", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delegations")),
        comment="Right to decide that was given to others. A row is never removed: decisions name it.",
    )
    op.create_index(op.f("ix_delegations_request_id"), "delegations", ["request_id"], unique=True)
    op.create_index(op.f("ix_delegations_to_subject_id"), "delegations", ["to_subject", "id"])
