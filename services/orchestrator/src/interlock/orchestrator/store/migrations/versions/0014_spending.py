"""Budgets of workspaces and callers, and what questions to models cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_TIME = sa.DateTime(timezone=True)
_ID = sa.Text(collation="C")


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("scope", sa.Text, nullable=False, comment="workspace or caller"),
        sa.Column(
            "key", sa.Text, nullable=False, comment="Its id or subject; * = each without one of its own"
        ),
        sa.Column("max_cost_micros", sa.BigInteger, nullable=False),
        sa.Column("unpriced_call_micros", sa.BigInteger, nullable=False),
        sa.Column("set_by", sa.Text, nullable=False),
        sa.Column("set_at", _TIME, nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_budgets")),
        comment="What runs may spend together; of a caller, on one day.",
    )
    op.create_table(
        "spending",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("step", sa.Integer, nullable=False, comment="0 = planning"),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False, comment="In UTC"),
        sa.Column("owner", _ID, nullable=False, comment="The orchestrator that asked; see `drivers`"),
        sa.Column("state", sa.Text, nullable=False, comment="held, settled or released"),
        sa.Column("micros", sa.BigInteger, nullable=False, comment="What counts against budgets"),
        sa.Column("purpose", sa.Text, nullable=False, server_default=""),
        sa.Column("model", sa.Text, nullable=False, server_default=""),
        sa.Column("cost_micros", sa.BigInteger, comment="Sum of the known prices; null where none is known"),
        sa.Column("calls", sa.Integer, nullable=False, server_default="0"),
        sa.Column("unpriced", sa.Integer, nullable=False, server_default="0"),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spending")),
        sa.CheckConstraint("state IN ('held', 'settled', 'released')", name=op.f("ck_spending_state")),
        comment="Each question to a model: what is held back for it, and what it cost in the end.",
    )
    op.create_index(op.f("ix_spending_run_id"), "spending", ["run_id"])
    op.create_index(op.f("ix_spending_workspace_id"), "spending", ["workspace_id"])
    op.create_index(op.f("ix_spending_caller_day"), "spending", ["caller", "day"])
    op.create_index(op.f("ix_spending_day"), "spending", ["day"])
