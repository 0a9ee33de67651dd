"""Approvals: open ones for people and bots, one by id, those of a run, and those that are overdue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, select, text

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import page
from interlock.orchestrator.store.schema import approvals


class ApprovalRow(NamedTuple):
    """An approval; `state` is one of records.ApprovalState, `subject` who decided it."""

    id: str
    run_id: str
    step: int
    attempt: int
    gate: str
    digest: str
    state: str
    requested_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None
    subject: str
    doc: Mapping[str, Any]


_ALL = select(*(approvals.c[name] for name in ApprovalRow._fields))
# Literals, not parameters: a generic plan can then use the partial indexes.
_PENDING = _ALL.where(text("approvals.state = 'pending'"))


async def get(database: Database, approval_id: str) -> ApprovalRow:
    """Raises APPROVAL_NOT_FOUND."""
    row = await database.first(_ALL.where(approvals.c.id == approval_id))
    if row is None:
        raise InterlockError(
            Reason.APPROVAL_NOT_FOUND, f"There is no approval {approval_id[:80]}.", field="approval_id"
        )
    return ApprovalRow(*row)


async def pending(
    database: Database, *, run_id: str | None = None, after: str = "", limit: int = 100
) -> list[ApprovalRow]:
    """Open approvals in order of id, oldest first. For a snapshot to follow, read the feed's position before."""
    query = _PENDING.where(approvals.c.id > after)
    if run_id is not None:
        query = query.where(approvals.c.run_id == run_id)
    return await _rows(database, query.order_by(approvals.c.id).limit(page(limit)))


async def listed(
    database: Database, *, states: Sequence[str], run_id: str | None = None, after: str = "", limit: int = 100
) -> list[ApprovalRow]:
    """Approvals in any of the states, in order of id."""
    query = _ALL.where(approvals.c.state.in_(states), approvals.c.id > after)
    if run_id is not None:
        query = query.where(approvals.c.run_id == run_id)
    return await _rows(database, query.order_by(approvals.c.id).limit(page(limit)))


async def of_run(
    database: Database, run_id: str, *, step: int | None = None, after: str = "", limit: int = 1000
) -> list[ApprovalRow]:
    """All approvals of a run (or of one of its steps) in order of id."""
    query = _ALL.where(approvals.c.run_id == run_id, approvals.c.id > after)
    if step is not None:
        query = query.where(approvals.c.step == step)
    return await _rows(database, query.order_by(approvals.c.id).limit(page(limit)))


async def overdue(database: Database, now: datetime, limit: int = 100) -> list[ApprovalRow]:
    """Open approvals whose time is over, the most overdue first."""
    query = _PENDING.where(text("approvals.expires_at IS NOT NULL"), approvals.c.expires_at <= now)
    return await _rows(database, query.order_by(approvals.c.expires_at).limit(page(limit)))


async def _rows(database: Database, query: Select[Any]) -> list[ApprovalRow]:
    return [ApprovalRow(*row) for row in await database.all(query)]
