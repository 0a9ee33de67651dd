"""What can happen to a run: one frozen dataclass an event. `event` has their base, and their form in the journal."""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.orchestrator.domain.event import REGISTRY as REGISTRY  # noqa: PLC0414 (re-exported)
from interlock.orchestrator.domain.event import Event as Event  # noqa: PLC0414 (re-exported)
from interlock.orchestrator.domain.event import decode as decode  # noqa: PLC0414 (re-exported)
from interlock.orchestrator.domain.event import encode as encode  # noqa: PLC0414 (re-exported)
from interlock.orchestrator.domain.model import (
    Approval,
    Budget,
    Failure,
    ForkOf,
    InheritedStep,
    Json,
    ModelCall,
    Policy,
    Prepared,
    RejectAction,
    StepSpec,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class RunCreated(Event):
    """A run exists. Always a run's first event."""

    type = "run.created"
    goal: str
    workspace_id: str
    created_by: str
    policy: Policy = field(default_factory=Policy)
    budget: Budget = field(default_factory=Budget)
    labels: Json = field(default_factory=dict)
    traceparent: str = ""
    fork: ForkOf | None = None


@dataclass(frozen=True, slots=True)
class StepsInherited(Event):
    """Steps that had ended in the run this one is a fork of, numbered from `first`; at most 200 an event."""

    type = "run.steps_inherited"
    first: int
    steps: tuple[InheritedStep, ...]


@dataclass(frozen=True, slots=True)
class StepsAdded(Event):
    """Steps were appended, numbered from `first`; at most 200 an event."""

    type = "run.steps_added"
    first: int
    specs: tuple[StepSpec, ...]
    by: str = ""


@dataclass(frozen=True, slots=True)
class PlanningStarted(Event):
    """The planner is asked for steps; `feedback` marks a re-plan of the rest."""

    type = "run.planning_started"
    additional_context: str = ""
    max_steps: int = 0
    feedback: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """The planner answered; `run.steps_added` events with its steps follow in the same transaction."""

    type = "run.planned"
    steps: int
    replaces_pending: bool = False


@dataclass(frozen=True, slots=True)
class PlanningFailed(Event):
    """There is no plan; the run is as it was before it asked."""

    type = "run.planning_failed"
    failure: Failure


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """Steps are carried out from now on, or one of them only."""

    type = "run.started"
    by: str = ""
    single_step: bool = False


@dataclass(frozen=True, slots=True)
class RunWaiting(Event):
    """The run is to start as soon as its workspace is free and nobody waits before it; `holder_run` has it now."""

    type = "run.waiting"
    by: str = ""
    holder_run: str = ""


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    """No further step starts; the one under way goes on to its end or its gate."""

    type = "run.paused"
    reason: str
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """Steps are carried out again, or one of them only."""

    type = "run.resumed"
    by: str = ""
    single_step: bool = False


@dataclass(frozen=True, slots=True)
class CancelRequested(Event):
    """Someone ended the run; what is under way is being stopped."""

    type = "run.cancel_requested"
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RunCancelled(Event):
    """The run has ended; steps that were PENDING are CANCELLED."""

    type = "run.cancelled"


@dataclass(frozen=True, slots=True)
class RunCompleted(Event):
    """Every step has ended and none stopped the run."""

    type = "run.completed"


@dataclass(frozen=True, slots=True)
class RunFailed(Event):
    """A step, or re-planning, stopped the run."""

    type = "run.failed"
    failure: Failure


@dataclass(frozen=True, slots=True)
class RollbackRequested(Event):
    """The intent to publish an older tree, recorded before it happens.

    `from_tree` is the head it is to lead back from; empty: whatever the head is, also what later runs made it.
    """

    type = "run.rollback_requested"
    operation_id: str
    tree: str
    to_step: int = 0
    by: str = ""
    comment: str = ""
    from_tree: str = ""


@dataclass(frozen=True, slots=True)
class RolledBack(Event):
    """The older tree is published; `kept_paths` (at most 100 of `kept_total`) were saved meanwhile, and stay."""

    type = "run.rolled_back"
    operation_id: str
    head_tree: str
    previous_tree: str
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0


@dataclass(frozen=True, slots=True)
class RollbackFailed(Event):
    """Nothing was published."""

    type = "run.rollback_failed"
    operation_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class RunReopened(Event):
    """A run that had ended, and of which something was undone, goes on: it waits to be resumed."""

    type = "run.reopened"
    by: str = ""


@dataclass(frozen=True, slots=True)
class StepRevertRequested(Event):
    """The intent to take the step's effect, what led from `to_tree` to `from_tree`, out of the workspace."""

    type = "step.revert_requested"
    operation_id: str
    from_tree: str
    to_tree: str
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class StepReverted(Event):
    """The step's effect is out of the workspace; with `merged`, other changes since are still in it.

    `kept_paths` (at most 100 of `kept_total`) were saved by somebody meanwhile, and left as they are.
    """

    type = "step.reverted"
    operation_id: str
    head_tree: str
    previous_tree: str
    merged: bool = False
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0


@dataclass(frozen=True, slots=True)
class StepRevertFailed(Event):
    """Nothing was changed."""

    type = "step.revert_failed"
    operation_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class ModelCalled(Event):
    """A model was asked for this step, or for the run's plan when `step` is 0."""

    type = "model.called"
    call: ModelCall


@dataclass(frozen=True, slots=True)
class DriftAdopted(Event):
    """Someone changed the live directory; the workspace's head moved to what they made of it."""

    type = "workspace.drift_adopted"
    from_tree: str
    to_tree: str


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """It is the step's turn; a new attempt begins, with the gate in force."""

    type = "step.started"
    attempt: int
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
class ApprovalRequested(Event):
    """The step waits for a decision about a digest."""

    type = "approval.requested"
    approval: Approval


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


@dataclass(frozen=True, slots=True)
class StepEdited(Event):
    """An approver replaced the input; the step is prepared anew and asks again, at the gate the input needs."""

    type = "step.edited"
    attempt: int
    input: Json
    gate: str = "none"


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


@dataclass(frozen=True, slots=True)
class StepSucceeded(Event):
    """The step is done; its effect, if it has one, is published and `head_tree` is the head.

    `kept_paths` (at most 100 of `kept_total`) were saved by somebody while it was being published, and left alone.
    """

    type = "step.succeeded"
    attempt: int
    head_tree: str = ""
    merged_drift: bool = False
    reply_payload: str = ""
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0


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
