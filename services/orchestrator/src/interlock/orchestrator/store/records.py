"""What goes into the store and what comes out, as plain values. Times are aware datetimes (UTC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

JsonObject = Mapping[str, Any]
_NONE: Mapping[str, str] = MappingProxyType({})


class SealedEvent(NamedTuple):
    """An event as it is hashed and stored: `canonical` are its bytes, `hash` 32 bytes chained to the one before.

    `texts`: those that it commits to, by digest; they are kept as payloads.
    """

    seq: int
    type: str
    step: int | None
    at: datetime
    canonical: bytes
    hash: bytes
    texts: Mapping[str, str] = _NONE


class FeedRow(NamedTuple):
    """A stored event: `position` counts 1, 2, … over all runs in commit order.

    `texts`: those that the event commits to, by digest, as far as they were not erased.
    """

    position: int
    run_id: str
    seq: int
    type: str
    step: int | None
    at: datetime
    canonical: bytes
    hash: bytes
    texts: Mapping[str, str] = _NONE


class RunHead(NamedTuple):
    """The run after the append. `needs_driver`: there is something to do now; without it the lease is dropped."""

    state: str
    steps: int
    steps_done: int
    cost_micros: int | None
    needs_driver: bool


@dataclass(frozen=True, slots=True)
class NewRun:
    """Facts fixed at creation; makes the append create its run (`expected_seq` 0)."""

    goal: str
    workspace_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    doc: JsonObject = field(default_factory=dict)


ApprovalState = Literal[
    "pending", "approved", "rejected", "skipped", "edited", "expired", "cancelled", "superseded"
]


@dataclass(frozen=True, slots=True)
class ApprovalUpsert:
    """An approval to add, or to change: then only state, times, subject and doc are taken from here."""

    id: str
    step: int
    attempt: int
    gate: str
    digest: str
    state: ApprovalState
    requested_at: datetime
    expires_at: datetime | None = None
    resolved_at: datetime | None = None
    subject: str = ""
    doc: JsonObject = field(default_factory=dict)


class Payload(NamedTuple):
    """Content by digest (32 bytes, SHA-256 of body, the caller's word). One that exists already is left alone."""

    digest: bytes
    media_type: str
    body: bytes


class RequestRecord(NamedTuple):
    """The first result of a mutation. `fingerprint`: digest of the request, to tell a repeat from a reuse."""

    method: str
    request_id: str
    fingerprint: bytes
    response: bytes


@dataclass(frozen=True, slots=True)
class NewWorkspace:
    """A workspace that the append registers if it is not known yet."""

    executor: str
    location: str
    head_tree: str = ""
    doc: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkspaceChange:
    """Takes or releases the right to write, and moves the head.

    `take` fails with WORKSPACE_BUSY if another run holds it, or has waited for it longer; `wait` gets in line;
    `release` gives back what this run holds and leaves the line, and is a no-op otherwise.
    `head_from`, if given, must be the present head, else WORKSPACE_HEAD_MOVED.
    """

    id: str
    hold: Literal["", "take", "wait", "release"] = ""
    head_from: str | None = None
    head_to: str | None = None
    create: NewWorkspace | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """Everything that becomes durable with some events of one run, or not at all.

    `events` (at least one) are numbered from `expected_seq` + 1. `epoch` is given by drivers and fences them;
    commands of API callers leave it None and rely on `expected_seq` alone. `take` names an owner who takes the
    lease if nobody has it (see `AppendResult.epoch`).
    """

    run_id: str
    expected_seq: int
    events: tuple[SealedEvent, ...]
    head: RunHead
    epoch: int | None = None
    create: NewRun | None = None
    approvals: tuple[ApprovalUpsert, ...] = ()
    payloads: tuple[Payload, ...] = ()
    request: RequestRecord | None = None
    workspace: WorkspaceChange | None = None
    take: str | None = None


class AppendResult(NamedTuple):
    """A durable append. `position` is that of its last event.

    `epoch` is the lease's if the append's `take` owner has it now, else 0. `replayed` is the recorded response
    if the request was known already: then nothing was written, and seq and position are 0.
    """

    run_id: str
    seq: int
    position: int
    epoch: int
    replayed: bytes | None = None


class Flushed(NamedTuple):
    """Events that have just become durable, in order of position (contiguous)."""

    rows: tuple[FeedRow, ...]

    @property
    def first(self) -> int:
        return self.rows[0].position

    @property
    def last(self) -> int:
        return self.rows[-1].position
