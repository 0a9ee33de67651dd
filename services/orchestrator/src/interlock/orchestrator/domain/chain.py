"""The hash chain of a run's events over canonical JSON (RFC 8785). Format: docs/journal-format.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from interlock.common.digests import canonical_json

VERSION = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event as it is stored: the canonical bytes and their SHA-256."""

    run_id: str
    seq: int
    type: str
    step: int
    at: datetime
    canonical: bytes
    digest: str


def time_text(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2026-11-22T12:00:00.000000Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The inverse of `time_text`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def seal(run_id: str, seq: int, prev: str, at: datetime, type_: str, step: int, data: Any) -> Sealed:
    """Puts an event at the end of a chain whose last digest is `prev`."""
    canonical = canonical_json(
        {
            "v": VERSION,
            "run_id": run_id,
            "seq": seq,
            "prev": prev,
            "at": time_text(at),
            "type": type_,
            "step": step,
            "data": data,
        }
    )
    digest = "sha256:" + hashlib.sha256(canonical).hexdigest()
    return Sealed(run_id, seq, type_, step, at, canonical, digest)
