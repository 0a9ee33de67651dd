"""What happens to one step on its way from its turn to its end."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.event import Event
from interlock.orchestrator.domain.model import Failure, Json, Prepared, Ruling


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """It is the step's turn; a new attempt begins, at the gate in force; with `judge`, rules have yet to name it."""

    type = "step.started"
    attempt: int
    gate: str = "none"
    judge: bool = False


@dataclass(frozen=True, slots=True)
class StepRuled(Event):
    """What the rules say about the attempt; `gate` is the one in force now."""

    type = "step.ruled"
    attempt: int
    ruling: Ruling
    gate: str = "none"


@dataclass(frozen=True, slots=True)
class StepDrafted(Event):
    """The model drafted the file's new content."""

    type = "step.drafted"
    draft_payload: str


@dataclass(frozen=True, slots=True)
class StepProposed(Event):
    """What will run is known; nothing ran."""

    type = "step.proposed"
    attempt: int
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class StepPrepared(Event):
    """The effect was computed in a fork; nothing is published."""

    type = "step.prepared"
    attempt: int
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class StepEdited(Event):
    """An approver replaced the input; the step is prepared anew and asks again, at the gate the input needs."""

    type = "step.edited"
    attempt: int
    input: Json
    gate: str = "none"
    judge: bool = False
    by: str = ""


@dataclass(frozen=True, slots=True)
class StepExecuting(Event):
    """Gate BOTH: the command was approved and runs in a fork now."""

    type = "step.executing"
    attempt: int


@dataclass(frozen=True, slots=True)
class StepApplying(Event):
    """The intent to execute (gate COMMAND) or publish: recorded before anything takes effect."""

    type = "step.applying"
    attempt: int
    approval_id: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PreviewSuperseded(Event):
    """The workspace moved under the preview, so the approval is void; a new preview follows.

    `approval_ids` are the approvals of the attempt that ends, `paths` those in the way, as far as they were named.
    """

    type = "step.preview_superseded"
    attempt: int
    reason: str
    message: str
    approval_ids: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    judge: bool = False


@dataclass(frozen=True, slots=True)
class StepSucceeded(Event):
    """The step is done; its effect, if it has one, is published and `head_tree` is the head.

    `kept_paths` (at most 100 of `kept_total`) were saved by somebody while it was being published, and left alone.
    `approval_id` is the approval that let this attempt take effect, the last one where there were two gates; empty
    where nobody was asked, and in journals of releases that did not record it.
    """

    type = "step.succeeded"
    attempt: int
    head_tree: str = ""
    merged_drift: bool = False
    reply_payload: str = ""
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0
    approval_id: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed(Event):
    """The attempt failed and published nothing; another follows when `will_retry`."""

    type = "step.failed"
    attempt: int
    failure: Failure
    will_retry: bool = False


@dataclass(frozen=True, slots=True)
class StepRejected(Event):
    """A decision refused the step."""

    type = "step.rejected"
    failure: Failure


@dataclass(frozen=True, slots=True)
class StepSkipped(Event):
    """The step was passed over."""

    type = "step.skipped"
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class StepCancelled(Event):
    """The run was cancelled before the step took effect."""

    type = "step.cancelled"


@dataclass(frozen=True, slots=True)
class StepOutcomeUnknown(Event):
    """The step may or may not have acted outside the workspace; a person has to say."""

    type = "step.outcome_unknown"
    failure: Failure


@dataclass(frozen=True, slots=True)
class StepRetried(Event):
    """Someone asked for another attempt."""

    type = "step.retried"
    by: str = ""


@dataclass(frozen=True, slots=True)
class EffectDiscarded(Event):
    """The executor threw away what this attempt had prepared."""

    type = "step.effect_discarded"
    attempt: int
