"""With which key a webhook's secret is encrypted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column(
        "webhooks",
        sa.Column(
            "sealed_with",
            sa.Text,
            nullable=False,
            server_default="",
            comment="Name of the key that the secret is encrypted with; empty for none",
        ),
    )
