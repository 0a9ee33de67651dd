"""Payloads can be erased, by an event that says so; otherwise they can neither be changed nor removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from interlock.orchestrator.store.schema import program

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("payloads", sa.Column("erased_run", sa.Text(collation="C"), comment="The run whose event"))
    op.add_column(
        "payloads",
        sa.Column("erased_seq", sa.BigInteger, comment="with this seq erased it: the body is empty then"),
    )
    op.execute(program("0012_erasure.sql"))
