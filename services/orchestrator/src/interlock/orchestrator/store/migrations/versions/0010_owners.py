"""Whose agent the subject of a token is, and whoever gave a delegation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    for table, comment in (
        ("access_tokens", "Whose agent the subject is"),
        ("delegations", "Whose agent gave it"),
    ):
        op.add_column(table, sa.Column("owner", sa.Text, nullable=False, server_default="", comment=comment))
