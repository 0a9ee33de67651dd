"""Appends for tests of the store: events whose bytes and hashes follow from run and number."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.orchestrator.store.records import Append, ApprovalUpsert, NewRun, RunHead, SealedEvent

START = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
RUNNING = RunHead("RUNNING", 3, 1, None, needs_driver=True)
IDLE = RunHead("AWAITING_APPROVAL", 3, 1, 42, needs_driver=False)


def event(run_id: str, seq: int, kind: str = "step_started", *, size: int = 0, salt: str = "") -> SealedEvent:
    canonical = f'{{"run":"{run_id}","seq":{seq}{salt}}}'.encode().ljust(size)
    at = START + timedelta(microseconds=seq)
    return SealedEvent(seq, kind, seq % 3 or None, at, canonical, hashlib.sha256(canonical).digest())


def append(
    run_id: str, expected: int, count: int = 1, *, salt: str = "", size: int = 0, **parts: Any
) -> Append:
    """`count` events after `expected`; creates the run if that is 0 (unless told otherwise)."""
    events = tuple(
        event(run_id, seq, size=size, salt=salt) for seq in range(expected + 1, expected + count + 1)
    )
    head = parts.pop("head", RUNNING)
    if expected == 0:
        parts.setdefault("create", NewRun("a goal"))
    return Append(run_id, expected, events, head, **parts)


def approval(number: int, state: str = "pending", **parts: Any) -> ApprovalUpsert:
    fields: dict[str, Any] = {
        "step": 1,
        "attempt": 1,
        "gate": "effect",
        "digest": "sha256:" + "0" * 64,
        "requested_at": START,
    }
    return ApprovalUpsert(id=f"apr-{number:03}", state=state, **(fields | parts))  # type: ignore[arg-type]
