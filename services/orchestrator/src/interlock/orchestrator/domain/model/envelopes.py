"""Envelopes: bounds that an approver gave for the rest of a run, and what has used them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EnvelopeState(StrEnum):
    """Whether steps may still use it."""

    ACTIVE = "active"
    REVOKED = "revoked"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class CommandPrefix:
    """The first words of the argument vectors that it is about."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What steps may do without asking: paths (globs), commands (none: no command), how many steps, how much.

    `max_bytes` is of the changed files as they are afterwards, `max_cost_micros` of model cost in the run since the
    grant; 0 is no limit.
    """

    paths: tuple[str, ...]
    commands: tuple[CommandPrefix, ...] = ()
    max_steps: int = 20
    max_bytes: int = 0
    max_cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class EnvelopeUse:
    """An attempt of a step that an envelope let through; `size` in bytes."""

    step: int
    attempt: int
    size: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope of a run. `expires_at` is RFC 3339 text, empty = with the run.

    `cost_before` is what the run had spent, and `unpriced_before` how many of its calls had no known price, when it was
    granted.
    """

    envelope_id: str
    bounds: Bounds
    granted_by: str
    granted_at: datetime
    on_behalf_of: str = ""
    authentication: str = ""
    channel: str = ""
    comment: str = ""
    approval_id: str = ""
    expires_at: str = ""
    cost_before: int = 0
    unpriced_before: int = 0
    state: EnvelopeState = EnvelopeState.ACTIVE
    uses: tuple[EnvelopeUse, ...] = ()
    revoked_by: str = ""
    delegation: str = ""
    groups: tuple[str, ...] = ()
