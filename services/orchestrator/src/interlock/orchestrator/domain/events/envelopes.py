"""Bounds that are given for the rest of a run, and steps that need not ask because of them."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.event import Event
from interlock.orchestrator.domain.model import Bounds


@dataclass(frozen=True, slots=True)
class EnvelopeGranted(Event):
    """Later steps within the bounds do not ask. `approval_id` and `digest`: what it was given with, if it was.

    `groups`: the provider's groups that the granter was in.
    """

    type = "envelope.granted"
    envelope_id: str
    bounds: Bounds
    by: str
    on_behalf_of: str = ""
    delegation: str = ""
    authentication: str = ""
    channel: str = ""
    comment: str = ""
    approval_id: str = ""
    digest: str = ""
    expires_at: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvelopeTried(Event):
    """The command runs in its fork before anybody is asked: what it does there says whether it is within."""

    type = "envelope.tried"
    attempt: int
    envelope_id: str
    request: str


@dataclass(frozen=True, slots=True)
class EnvelopeUsed(Event):
    """What the step did (`digest`) is within the bounds, so nobody is asked. It counts once, for this attempt."""

    type = "envelope.used"
    attempt: int
    envelope_id: str
    granted_by: str
    digest: str
    paths: int = 0
    size: int = 0
    on_behalf_of: str = ""


@dataclass(frozen=True, slots=True)
class EnvelopeRevoked(Event):
    """Somebody took it back. What was let through by it stays."""

    type = "envelope.revoked"
    envelope_id: str
    by: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class EnvelopeExhausted(Event):
    """A step would have passed this bound, which no later one could stay within; it asks."""

    type = "envelope.exhausted"
    envelope_id: str
    bound: str
