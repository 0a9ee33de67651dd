"""Approvals whose preview was replaced because the workspace changed under it."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_STATES = ("pending", "approved", "rejected", "skipped", "edited", "expired", "cancelled", "superseded")


def upgrade() -> None:
    listed = ", ".join(f"'{state}'" for state in _STATES)
    op.drop_constraint(op.f("ck_approvals_state"), "approvals", type_="check")
    op.create_check_constraint(op.f("ck_approvals_state"), "approvals", f"state IN ({listed})")
