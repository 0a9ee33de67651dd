"""Run heads: one, or a list with filters, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.readers import page
from interlock.orchestrator.store.schema import runs, workspaces


class RunRow(NamedTuple):
    """A run's head. `head_hash` is the hash of event `seq`; `position` is its place in the feed."""

    id: str
    state: str
    workspace_id: str | None
    goal: str
    labels: Mapping[str, str]
    doc: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    seq: int
    head_hash: bytes
    position: int
    epoch: int
    lease_owner: str | None
    needs_driver: bool
    steps: int
    steps_done: int
    cost_micros: int | None


_ALL = select(*(runs.c[name] for name in RunRow._fields))


async def find(database: Database, run_id: str) -> RunRow | None:
    """The run's head, or None."""
    row = await database.first(_ALL.where(runs.c.id == run_id))
    return RunRow(*row) if row else None


async def get(database: Database, run_id: str) -> RunRow:
    """The run's head. Raises RUN_NOT_FOUND."""
    if (row := await find(database, run_id)) is None:
        raise InterlockError(Reason.RUN_NOT_FOUND, f"There is no run {run_id[:80]}.", field="run_id")
    return row


async def heads(database: Database, run_ids: Sequence[str]) -> dict[str, RunRow]:
    """The heads of those of the runs that exist."""
    rows = await database.all(_ALL.where(runs.c.id.in_(run_ids)))
    return {row.id: RunRow(*row) for row in rows}


async def list_runs(
    database: Database,
    *,
    states: Sequence[str] = (),
    workspace_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    prefix: str = "",
    scope: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[RunRow]:
    """Runs in order of id, newest first (ids begin with the time).

    `labels`: the run has all of these; `scope`: its workspace has. `prefix`: its id begins so.
    """
    query = _ALL.order_by(runs.c.id.desc()).limit(page(limit))
    if states:
        query = query.where(runs.c.state.in_(states))
    if workspace_id is not None:
        query = query.where(runs.c.workspace_id == workspace_id)
    if prefix:
        query = query.where(runs.c.id.startswith(prefix, autoescape=True))
    if labels:
        query = query.where(runs.c.labels.contains(dict(labels)))
    if scope:
        within = select(workspaces.c.id).where(workspaces.c.doc.contains({"labels": dict(scope)}))
        query = query.where(runs.c.workspace_id.in_(within))
    if after is not None:
        query = query.where(runs.c.id < after)
    return [RunRow(*row) for row in await database.all(query)]
