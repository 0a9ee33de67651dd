"""Payloads by digest, recorded requests, and workspaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, exists, func, select, tuple_

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.pending import request_reused
from interlock.orchestrator.store.readers import page
from interlock.orchestrator.store.records import Payload
from interlock.orchestrator.store.schema import payloads, requests, waiters, workspaces

_others = waiters.alias()


class WorkspaceRow(NamedTuple):
    """A workspace: where it lives, the tree its head is at, and the run that may write to it."""

    id: str
    executor: str
    location: str
    head_tree: str
    holder_run: str | None
    created_at: datetime
    doc: Mapping[str, Any]


_WORKSPACE = select(*(workspaces.c[name] for name in WorkspaceRow._fields))


async def payload(database: Database, digest: bytes) -> Payload | None:
    """Content by its digest (32 bytes), or None."""
    query = select(payloads.c.digest, payloads.c.media_type, payloads.c.body)
    row = await database.first(query.where(payloads.c.digest == digest))
    return Payload(bytes(row[0]), row[1], bytes(row[2])) if row else None


async def payload_bodies(database: Database, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """The contents of those of these digests that are stored."""
    query = select(payloads.c.digest, payloads.c.body).where(payloads.c.digest.in_(digests))
    return {bytes(digest): bytes(body) for digest, body in await database.all(query)}


async def payload_sizes(database: Database, digests: Sequence[bytes]) -> dict[bytes, int]:
    """Which of these digests are stored, and the size of each in bytes."""
    query = select(payloads.c.digest, payloads.c.size).where(payloads.c.digest.in_(digests))
    return {bytes(digest): size for digest, size in await database.all(query)}


async def recorded(database: Database, method: str, request_id: str, fingerprint: bytes) -> bytes | None:
    """The first response to this request, or None if it is new. Raises REQUEST_ID_REUSED for another request."""
    query = select(requests.c.fingerprint, requests.c.response)
    row = await database.first(query.where(requests.c.method == method, requests.c.request_id == request_id))
    if row is None:
        return None
    if bytes(row[0]) != fingerprint:
        raise request_reused(request_id)
    return bytes(row[1])


async def forget_requests(database: Database, age: timedelta, limit: int = 10_000) -> int:
    """Deletes records of requests older than that, the oldest `limit` of them at most; how many."""
    old = select(requests.c.method, requests.c.request_id).where(requests.c.created_at < func.now() - age)
    some = old.order_by(requests.c.created_at).limit(limit)
    query = delete(requests).where(tuple_(requests.c.method, requests.c.request_id).in_(some))
    return len(await database.write(query.returning(requests.c.request_id)))


async def workspace(database: Database, workspace_id: str) -> WorkspaceRow:
    """Raises WORKSPACE_NOT_FOUND."""
    row = await database.first(_WORKSPACE.where(workspaces.c.id == workspace_id))
    if row is None:
        raise InterlockError(
            Reason.WORKSPACE_NOT_FOUND, f"There is no workspace {workspace_id[:80]}.", field="workspace_id"
        )
    return WorkspaceRow(*row)


async def line(database: Database, run_id: str) -> tuple[str, int] | None:
    """Of a run that waits: who has the workspace (empty: nobody), and how many others wait before it."""
    before = select(func.count()).where(
        _others.c.workspace_id == waiters.c.workspace_id, _others.c.number < waiters.c.number
    )
    query = select(func.coalesce(workspaces.c.holder_run, ""), before.scalar_subquery())
    joined = waiters.join(workspaces, workspaces.c.id == waiters.c.workspace_id)
    row = await database.first(query.select_from(joined).where(waiters.c.run_id == run_id))
    return (row[0], row[1]) if row else None


async def next_in_line(database: Database, run_ids: Sequence[str]) -> list[str]:
    """Those of these runs whose turn it is: their workspace is free and nobody waits before them."""
    first = ~exists().where(
        _others.c.workspace_id == waiters.c.workspace_id, _others.c.number < waiters.c.number
    )
    joined = waiters.join(workspaces, workspaces.c.id == waiters.c.workspace_id)
    query = select(waiters.c.run_id).select_from(joined)
    free = query.where(waiters.c.run_id.in_(run_ids), workspaces.c.holder_run.is_(None), first)
    return [row[0] for row in await database.all(free)]


async def workspace_labels(database: Database, workspace_id: str) -> Mapping[str, Any]:
    """The labels of a workspace that a run is on; none for one that is not known."""
    row = await database.first(select(workspaces.c.doc).where(workspaces.c.id == workspace_id))
    labels = row.doc.get("labels", {}) if row else {}
    return labels if isinstance(labels, dict) else {}


async def workspace_executor(database: Database, workspace_id: str) -> str:
    """The address of its executor when it had its first run; empty for one that is not known."""
    row = await database.first(select(workspaces.c.executor).where(workspaces.c.id == workspace_id))
    return str(row.executor) if row else ""


async def list_workspaces(
    database: Database, *, executor: str | None = None, after: str = "", limit: int = 100
) -> list[WorkspaceRow]:
    """Workspaces in order of id."""
    query = _WORKSPACE.where(workspaces.c.id > after)
    if executor is not None:
        query = query.where(workspaces.c.executor == executor)
    rows = await database.all(query.order_by(workspaces.c.id).limit(page(limit)))
    return [WorkspaceRow(*row) for row in rows]
