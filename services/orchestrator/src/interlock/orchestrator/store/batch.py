"""Turns a batch of appends into the arguments of `journal_flush`, and checks an append before it joins one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.arrays import Array, Bigints, Bools, Byteas, Ints, Texts, Times
from interlock.orchestrator.store.records import Append, ApprovalUpsert, NewRun, WorkspaceChange

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 64 * 1024 * 1024
_APPEND = (
    *(Ints, Texts, Bools, Bigints, Bigints, Bigints, Byteas),
    *(Texts, Ints, Ints, Bigints, Bools, Texts, Times),
)
_EVENT = (Ints, Texts, Bigints, Texts, Ints, Times, Byteas, Byteas)
_PAYLOAD = (Ints, Byteas, Texts, Byteas)
_REQUEST = (Ints, Texts, Texts, Byteas, Byteas)
PARAMETERS: Final = len(_APPEND) + len(_EVENT) + len(_PAYLOAD) + len(_REQUEST) + 1


def size_of(append: Append) -> int:
    """Bytes of the parts that can be large."""
    total = sum(len(event.canonical) for event in append.events) + sum(len(p.body) for p in append.payloads)
    return total + (len(append.request.response) if append.request else 0)


def check(append: Append) -> int:
    """Refuses what could only be a defect of the caller; returns the append's size in bytes.

    A limit that a request can reach is MESSAGE_TOO_LARGE, the rest is INTERNAL.
    """
    expected = append.expected_seq
    if not append.events or any(e.seq != n for n, e in enumerate(append.events, expected + 1)):
        raise _defect(append, f"its events are not numbered from {expected + 1}")
    if any(len(event.hash) != 32 for event in append.events):
        raise _defect(append, "a hash is not 32 bytes")
    if any(event.at.tzinfo is None for event in append.events):
        raise _defect(append, "a time has no time zone")
    if (append.create is not None) != (expected == 0):
        raise _defect(append, "a run is created with its first event, and only then")
    if len({approval.id for approval in append.approvals}) != len(append.approvals):
        raise _defect(append, "it changes an approval twice")
    size = size_of(append)
    if size > MAX_BYTES or len(append.events) > MAX_EVENTS:
        raise InterlockError(
            Reason.MESSAGE_TOO_LARGE,
            f"A change of {len(append.events)} events and {size} bytes is too large to be written at once.",
            fix="Send it in smaller parts.",
        )
    return size


def ranks(batch: Sequence[Append]) -> list[int]:
    """1, 2, …: an append comes after all earlier ones with the same run, request id or workspace."""
    last: dict[tuple[str, ...], int] = {}
    found = []
    for append in batch:
        keys = tuple(_keys(append))
        rank = 1 + max(last.get(key, 0) for key in keys)
        last.update(dict.fromkeys(keys, rank))
        found.append(rank)
    return found


def parameters(batch: Sequence[Append]) -> list[Any]:
    """The arguments of `journal_flush`, in order."""
    numbered = list(enumerate(batch, 1))
    appends = [
        (
            *(rank, a.run_id, a.create is not None, a.expected_seq, a.epoch, a.events[-1].seq),
            *(a.events[-1].hash, *a.head, a.take, a.events[-1].at),
        )
        for a, rank in zip(batch, ranks(batch), strict=True)
    ]
    events = [
        (n, a.run_id, e.seq, e.type, e.step, e.at, e.canonical, e.hash) for n, a in numbered for e in a.events
    ]
    payloads = [(n, p.digest, p.media_type, p.body) for n, a in numbered for p in a.payloads]
    requests = [(n, *a.request) for n, a in numbered if a.request]
    return [
        *_columns(_APPEND, appends),
        *_columns(_EVENT, events),
        *_columns(_PAYLOAD, payloads),
        *_columns(_REQUEST, requests),
        _extras(numbered),
    ]


def _columns(kinds: Sequence[type[Array]], rows: list[tuple[Any, ...]]) -> list[Array]:
    if not rows:
        return [kind() for kind in kinds]
    return [kind(column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def _keys(append: Append) -> Iterator[tuple[str, ...]]:
    yield ("run", append.run_id)
    if append.request:
        yield ("request", append.request.method, append.request.request_id)
    if append.workspace:
        yield ("workspace", append.workspace.id)
    for approval in append.approvals:
        yield ("approval", approval.id)


def _extras(numbered: list[tuple[int, Append]]) -> str | None:
    found: dict[str, list[dict[str, Any]]] = {"runs": [], "approvals": [], "workspaces": []}
    for n, append in numbered:
        if append.create:
            found["runs"].append(_run(n, append.create))
        found["approvals"].extend(_approval(n, approval) for approval in append.approvals)
        if append.workspace:
            found["workspaces"].append(_workspace(n, append.workspace))
    return json.dumps(found) if any(found.values()) else None


def _run(n: int, new: NewRun) -> dict[str, Any]:
    return {
        "append": n,
        "workspace_id": new.workspace_id,
        "goal": new.goal,
        "labels": dict(new.labels),
        "doc": dict(new.doc),
    }


def _approval(n: int, approval: ApprovalUpsert) -> dict[str, Any]:
    return {
        "append": n,
        "id": approval.id,
        "step": approval.step,
        "attempt": approval.attempt,
        "gate": approval.gate,
        "digest": approval.digest,
        "state": approval.state,
        "requested_at": _time(approval.requested_at),
        "expires_at": _time(approval.expires_at),
        "resolved_at": _time(approval.resolved_at),
        "subject": approval.subject,
        "doc": dict(approval.doc),
    }


def _workspace(n: int, change: WorkspaceChange) -> dict[str, Any]:
    found: dict[str, Any] = {
        "append": n,
        "id": change.id,
        "hold": change.hold,
        "head_from": change.head_from,
        "head_to": change.head_to,
    }
    if change.create:
        found["fresh"] = {
            "executor": change.create.executor,
            "location": change.create.location,
            "head_tree": change.create.head_tree,
            "doc": dict(change.create.doc),
        }
    return found


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def _defect(append: Append, what: str) -> InterlockError:
    return InterlockError(Reason.INTERNAL, f"The change of {append.run_id} cannot be written: {what}.")
