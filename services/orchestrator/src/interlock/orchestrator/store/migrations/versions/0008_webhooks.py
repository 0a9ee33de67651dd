"""Webhooks and what is sent to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

_ID = sa.Text(collation="C")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", _ID, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column(
            "chosen",
            postgresql.JSONB,
            nullable=False,
            comment="Which approvals and events, as the message says it",
        ),
        sa.Column("secret", sa.LargeBinary, nullable=False, comment="What signs; no call returns it"),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("request_id", sa.Text, comment="What asked for it; null where the request had no id"),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="Up to there in the feed its deliveries are made",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        comment="Endpoints that are told what happens to approvals.",
    )
    op.create_index(op.f("ix_webhooks_request_id"), "webhooks", ["request_id"], unique=True)
    _deliveries()


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column(
            "id", _ID, nullable=False, comment="Follows from endpoint and position: made twice it is the same"
        ),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", _ID, nullable=False),
        sa.Column(
            "run_id", _ID, nullable=False, comment="Deliveries of a run keep their order; empty for tests"
        ),
        sa.Column("position", sa.BigInteger, nullable=False, comment="Of the event in the feed; 0 for tests"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_status", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.text("now()")),
        sa.Column("next_at", _TIME, nullable=False, server_default=sa.text("now()")),
        sa.Column("settled_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_webhook_deliveries_webhook_id_webhooks"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'dead')", name=op.f("ck_webhook_deliveries_state")
        ),
        comment="What was or is to be sent to endpoints.",
    )
    op.create_index(
        op.f("ix_webhook_deliveries_webhook_id_number"), "webhook_deliveries", ["webhook_id", "number"]
    )
    op.create_index(
        op.f("ix_webhook_deliveries_pending"),
        "webhook_deliveries",
        ["webhook_id", "run_id", "number"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_settled_at"),
        "webhook_deliveries",
        ["settled_at"],
        postgresql_where=sa.text("settled_at IS NOT NULL"),
    )
