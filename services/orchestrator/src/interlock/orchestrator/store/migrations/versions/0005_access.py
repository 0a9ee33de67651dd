"""Issued tokens, and the record of refused calls."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_SQL = Path(__file__).parents[1] / "sql"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _tokens()
    _denials()
    op.execute((_SQL / "0005_denials.sql").read_text(encoding="utf-8"))


def _tokens() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column(
            "digest",
            sa.LargeBinary,
            nullable=False,
            comment="SHA-256 of the token's text, which is kept nowhere",
        ),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column(
            "scope",
            postgresql.JSONB,
            nullable=False,
            server_default=sa.text("'{}'::jsonb"),
            comment="Labels a workspace must have",
        ),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("request_id", sa.Text, comment="What asked for it; null where the request had no id"),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME),
        sa.Column("revoked_by", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_access_tokens_digest")),
        comment="Issued tokens. A row is never removed: decisions name it.",
    )
    op.create_index(op.f("ix_access_tokens_request_id"), "access_tokens", ["request_id"], unique=True)
    op.create_index(op.f("ix_access_tokens_subject_id"), "access_tokens", ["subject", "id"])


def _denials() -> None:
    op.create_table(
        "access_denials",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("authentication", sa.Text, nullable=False),
        sa.Column("rpc", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_denials")),
        comment="Refused calls of known callers. Append-only.",
    )
    op.create_index(op.f("ix_access_denials_subject_id"), "access_denials", ["subject", "id"])
