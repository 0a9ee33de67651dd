"""The hash chain of a run's events over canonical JSON (RFC 8785). Format: docs/journal-format.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quoted
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
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """The inverse of `time_text`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def seal(run_id: str, seq: int, prev: str, at: datetime, type_: str, step: int, data: Any) -> Sealed:
    """Puts an event at the end of a chain whose last digest is `prev`."""
    # The canonical form of {at, data, prev, run_id, seq, step, type, v}: only `data` is not known to be in order.
    head = b'{"at":"%b","data":%b,"prev":' % (time_text(at).encode(), canonical_json(data))
    place = f'{_quoted(prev)},"run_id":{_quoted(run_id)},"seq":{seq},"step":{step},'
    canonical = head + f'{place}"type":{_quoted(type_)},"v":{VERSION}}}'.encode()
    digest = "sha256:" + hashlib.sha256(canonical).hexdigest()
    return Sealed(run_id, seq, type_, step, at, canonical, digest)
