"""The questions that steps ask, and how they are answered."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.event import Event
from interlock.orchestrator.domain.model import Approval, EarlyDecision, RejectAction, Verdict


@dataclass(frozen=True, slots=True)
class ApprovalRequested(Event):
    """The step waits for a decision about a digest."""

    type = "approval.requested"
    approval: Approval


@dataclass(frozen=True, slots=True)
class DecisionKept(Event):
    """A decision came before its question; it is given when exactly that is asked."""

    type = "approval.kept"
    decision: EarlyDecision


@dataclass(frozen=True, slots=True)
class DecisionWithdrawn(Event):
    """A kept decision is not given any more: the right by which it was kept has ended."""

    type = "approval.withdrawn"
    subject: str
    digest: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalVoted(Event):
    """Someone approved where several have to; `stage` counts from 0. The last one is followed by the decision.

    `groups`: the provider's groups that they were in.
    """

    type = "approval.voted"
    approval_id: str
    digest: str
    subject: str
    stage: int = 0
    channel: str = ""
    comment: str = ""
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalReminded(Event):
    """Nobody has decided for a while; `number` counts the reminders of this approval from 1."""

    type = "approval.reminded"
    approval_id: str
    number: int


@dataclass(frozen=True, slots=True)
class ApprovalEscalated(Event):
    """Nobody has decided in time for others to be left out: `to` may decide as well from now on, groups resolved."""

    type = "approval.escalated"
    approval_id: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalDecided(Event):
    """The decision about an approval: there is one at most."""

    type = "approval.decided"
    approval_id: str
    verdict: Verdict
    digest: str
    subject: str
    channel: str = ""
    comment: str = ""
    action: RejectAction | None = None
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalExpired(Event):
    """Nobody decided in time."""

    type = "approval.expired"
    approval_id: str


@dataclass(frozen=True, slots=True)
class ApprovalCancelled(Event):
    """The question was withdrawn: its run was cancelled, or its step skipped."""

    type = "approval.cancelled"
    approval_id: str
