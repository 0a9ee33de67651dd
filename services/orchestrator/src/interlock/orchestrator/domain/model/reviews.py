"""What a step would do, the question that asks about it, and what was approved."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime

from interlock.orchestrator.domain.model.specs import Json
from interlock.orchestrator.domain.model.states import Gate, RejectAction, Verdict


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the executor computed: the facts a decision is bound to. `effect_payload` names the whole effect.

    `effect_digest` is empty while only the request is known (a COMMAND gate's proposal) and when the step failed
    in its fork. `limits` are the ones in force.
    """

    request_digest: str
    base_tree: str
    effect_payload: str
    effect_digest: str = ""
    result_tree: str = ""
    exit_code: int | None = None
    limits: Json = default(default_factory=dict)

    @property
    def changes_tree(self) -> bool:
        """Whether there is anything to publish."""
        return bool(self.result_tree) and self.result_tree != self.base_tree


@dataclass(frozen=True, slots=True)
class Approval:
    """The open question of a step. `expires_at` is RFC 3339 text, empty = never.

    `replaces` is the approval that was given at this gate before the workspace moved under what it was about.
    Those who can decide are reminded every `remind_us` microseconds (0: never); at `escalates_at` (empty: never) it
    goes to `escalate_to` as well. `outside` says why no envelope has answered it.
    """

    approval_id: str
    gate: Gate
    digest: str
    attempt: int
    expires_at: str = ""
    replaces: str = ""
    remind_us: int = 0
    escalates_at: str = ""
    escalate_to: tuple[str, ...] = ()
    outside: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """One approval of several that are needed; `stage` counts from 0. `on_behalf_of` gave their right by
    `delegation`; `groups` are the provider's that they were in.
    """

    subject: str
    stage: int
    at: datetime
    channel: str = ""
    comment: str = ""
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""
    groups: tuple[str, ...] = ()

    @property
    def people(self) -> frozenset[str]:
        """Whom the vote counts for: who gave it, and in whose place."""
        return frozenset({self.subject, self.on_behalf_of} - {""})


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What was approved at one gate of a step: the question, who answered it and how, and what was shown."""

    approval: Approval
    asked_at: datetime
    decided_at: datetime
    subject: str
    channel: str
    comment: str
    shown: Prepared
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Why the preview before had to be replaced, how often that has happened, and the paths in the way."""

    reason: str
    times: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlyDecision:
    """A decision that came before its question: about a digest, kept until `until` (RFC 3339)."""

    verdict: Verdict
    digest: str
    subject: str
    until: str
    channel: str = ""
    comment: str = ""
    action: RejectAction | None = None
    authentication: str = ""
    on_behalf_of: str = ""
    delegation: str = ""
    groups: tuple[str, ...] = ()
