"""One step as the journal tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from interlock.orchestrator.domain.effects import Effects, Published, undone
from interlock.orchestrator.domain.model.copying import copier
from interlock.orchestrator.domain.model.reviews import (
    Approval,
    EarlyDecision,
    Prepared,
    Reviewed,
    Superseded,
    Vote,
)
from interlock.orchestrator.domain.model.rulings import Ruling
from interlock.orchestrator.domain.model.specs import Failure, StepSpec
from interlock.orchestrator.domain.model.spending import ModelCall
from interlock.orchestrator.domain.model.states import Gate, StepState


class Kept(NamedTuple):
    """Paths that were left as somebody saved them during a publication: at most a hundred, and how many there are."""

    paths: tuple[str, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step as the journal tells it.

    `computed` is the last attempt whose effect, or failure in its fork, is known; `discarded` is the last
    one thrown away. `head_tree` is where the
    workspace was when the step ended, empty before. `reviewed` is what was approved last at each gate since the
    step was started or edited; with `superseded`, people have seen that and not what replaces it. `waited_us` is
    how long it did not work after it had started, up to `idle_since` where that is set. `votes` are about the
    open approval, `authors` are those who asked for the step or have changed its input, `edited_by` is who changed it
    last since the step was started. `reminders`, `reminded_at` and `escalated_at` are about the open approval too.
    `tried_request` is what runs in its fork before anybody is asked; `envelope` let this attempt through.
    `early` are decisions that are kept until their question is asked.
    `judge`: rules decide about
    the attempt; `ruling` is what they said before it began, `observed` what they said about what it did.
    """

    number: int
    spec: StepSpec
    state: StepState = StepState.PENDING
    attempt: int = 0
    computed: int = 0
    discarded: int = 0
    gate: Gate = Gate.NONE
    approval: Approval | None = None
    last_approval_id: str = ""
    asked_at: datetime | None = None
    votes: tuple[Vote, ...] = ()
    authors: tuple[str, ...] = ()
    judge: bool = False
    ruling: Ruling | None = None
    observed: Ruling | None = None
    edited_by: str = ""
    tried_request: str = ""
    envelope: str = ""
    early: tuple[EarlyDecision, ...] = ()
    reminders: int = 0
    reminded_at: datetime | None = None
    escalated_at: datetime | None = None
    approved_request: str = ""
    approved_digest: str = ""
    reviewed: tuple[Reviewed, ...] = ()
    superseded: Superseded | None = None
    draft_payload: str = ""
    prepared: Prepared | None = None
    reply_payload: str = ""
    model_calls: tuple[ModelCall, ...] = ()
    failures: int = 0
    failure: Failure | None = None
    head_tree: str = ""
    ended_seq: int = 0
    effects: Effects = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    idle_since: datetime | None = None
    waited_us: int = 0
    inherited: bool = False
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0

    @property
    def key(self) -> str:
        """The step's name in `context_keys`."""
        return f"step-{self.number}"

    @property
    def undone(self) -> Published | None:
        """How what it did was taken out of the workspace, if it was; that is past once the step is tried again."""
        gone = undone(self.effects)
        counts = self.state is StepState.SUCCEEDED and gone is not None and gone.attempt == self.attempt
        return gone if counts else None

    def review(self, gate: Gate) -> Reviewed | None:
        """What was approved at this gate of an attempt before this one."""
        found = (r for r in self.reviewed if r.approval.gate is gate and r.approval.attempt < self.attempt)
        return next(found, None)


changed_step = copier(Step)
"""A step with some fields changed."""
