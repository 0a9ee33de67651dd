"""Signed statements about the heads of all runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from interlock.orchestrator.store.schema import program

revision = "0009"
down_revision = "0008"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "anchors",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False, comment="1, 2, …"),
        sa.Column("at", _TIME, nullable=False),
        sa.Column(
            "position", sa.BigInteger, nullable=False, comment="Up to there in the feed it covers the runs"
        ),
        sa.Column(
            "heads", sa.Integer, nullable=False, comment="How many runs had changed since the one before"
        ),
        sa.Column(
            "root", sa.LargeBinary, nullable=False, comment="Of the Merkle tree (RFC 6962) over their heads"
        ),
        sa.Column("statement", sa.LargeBinary, nullable=False, comment="Canonical JSON: what is signed"),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_anchors")),
        comment="Append-only: signed statements about the heads of all runs.",
    )
    op.create_table(
        "anchored_heads",
        sa.Column("anchor", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column(
            "leaf", sa.Integer, autoincrement=False, nullable=False, comment="0, 1, … in the anchor's tree"
        ),
        sa.Column("run_id", sa.Text(collation="C"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("anchor", "leaf", name=op.f("pk_anchored_heads")),
        comment="Append-only: the leaves of the anchors' trees.",
    )
    op.create_index(op.f("ix_anchored_heads_run_id_anchor"), "anchored_heads", ["run_id", "anchor"])
    op.execute(program("0009_anchors.sql"))
