"""Tables about money: budgets, and what questions to models cost."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, Table, Text, text

from interlock.orchestrator.store.schema_base import Id as _Id
from interlock.orchestrator.store.schema_base import Time as _Time
from interlock.orchestrator.store.schema_base import metadata

budgets = Table(
    "budgets",
    metadata,
    Column("scope", Text, primary_key=True, comment="workspace or caller"),
    Column("key", Text, primary_key=True, comment="Its id or subject; * = each without one of its own"),
    Column("max_cost_micros", BigInteger, nullable=False),
    Column("unpriced_call_micros", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", _Time, nullable=False, server_default=text("now()")),
    comment="What runs may spend together; of a caller, on one day.",
)

spending = Table(
    "spending",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", _Id, nullable=False),
    Column("step", Integer, nullable=False, comment="0 = planning"),
    Column("workspace_id", _Id, nullable=False),
    Column("caller", Text, nullable=False),
    Column("day", Date, nullable=False, comment="In UTC"),
    Column("owner", _Id, nullable=False, comment="The orchestrator that asked; see `drivers`"),
    Column("state", Text, nullable=False, comment="held, settled or released"),
    Column("micros", BigInteger, nullable=False, comment="What counts against budgets"),
    Column("purpose", Text, nullable=False, server_default=""),
    Column("model", Text, nullable=False, server_default=""),
    Column("cost_micros", BigInteger, comment="Sum of the known prices; null where none is known"),
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("unpriced", Integer, nullable=False, server_default="0"),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    CheckConstraint("state IN ('held', 'settled', 'released')", name="state"),
    Index("ix_spending_run_id", "run_id"),
    Index("ix_spending_workspace_id", "workspace_id"),
    Index("ix_spending_caller_day", "caller", "day"),
    Index("ix_spending_day", "day"),
    comment="Each question to a model: what is held back for it, and what it cost in the end.",
)
