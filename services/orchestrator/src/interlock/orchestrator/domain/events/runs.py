"""What happens to a run as a whole: its plan, its start and its end, what it waits for and what it spends."""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.orchestrator.domain.event import Event
from interlock.orchestrator.domain.model import (
    Budget,
    Failure,
    ForkOf,
    InheritedStep,
    Json,
    ModelCall,
    Policy,
    StepSpec,
)


@dataclass(frozen=True, slots=True)
class RunCreated(Event):
    """A run exists. Always a run's first event.

    `left_out` (at most 100 of `left_out_total`) are sockets, fifos and devices in the directory when it was made the
    workspace: they are no part of it. `labels` are those that whoever created the run gave it, `workspace_labels` those
    that the workspace had by then. `replay_from` is the run whose recorded replies answer in place of models. With
    `steps_at_a_time` the model decides on so many at once, until there are `most_steps`.
    """

    type = "run.created"
    goal: str
    workspace_id: str
    created_by: str
    policy: Policy = field(default_factory=Policy)
    budget: Budget = field(default_factory=Budget)
    labels: Json = field(default_factory=dict)
    traceparent: str = ""
    fork: ForkOf | None = None
    left_out: tuple[str, ...] = ()
    left_out_total: int = 0
    workspace_labels: Json = field(default_factory=dict)
    replay_from: str = ""
    steps_at_a_time: int = 0
    most_steps: int = 0


@dataclass(frozen=True, slots=True)
class AgentNamed(Event):
    """Somebody who acts in the run is an agent: `owner` answers for what `subject` asks for and decides."""

    type = "run.agent_named"
    subject: str
    owner: str


@dataclass(frozen=True, slots=True)
class StepsInherited(Event):
    """Steps that had ended in the run this one is a fork of, numbered from `first`; at most 200 an event."""

    type = "run.steps_inherited"
    first: int
    steps: tuple[InheritedStep, ...]


@dataclass(frozen=True, slots=True)
class StepsAdded(Event):
    """Steps were appended, numbered from `first`; at most 200 an event. `asked_by`: those of a fork, who had asked for
    them in the run that it is of."""

    type = "run.steps_added"
    first: int
    specs: tuple[StepSpec, ...]
    by: str = ""
    asked_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanningStarted(Event):
    """The planner is asked for steps; `feedback` marks a re-plan of the rest, `going_on` the next few steps.

    `then` is what the run is afterwards: `planned`, `paused`, or, where it is empty, what follows by itself.
    """

    type = "run.planning_started"
    additional_context: str = ""
    max_steps: int = 0
    feedback: str = ""
    by: str = ""
    going_on: bool = False
    then: str = ""


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
class RunSetAside(Event):
    """Driving the run met the same defect `tries` times, and is not tried again until somebody resumes it.

    `action` is what could not be carried out; it may have taken effect, which shows when it is repeated.
    """

    type = "run.set_aside"
    action: str
    failure: Failure
    tries: int = 1


@dataclass(frozen=True, slots=True)
class RunTakenUp(Event):
    """A run that was set aside is driven again."""

    type = "run.taken_up"
    by: str = ""


@dataclass(frozen=True, slots=True)
class BudgetReached(Event):
    """A model was not asked, because the call could exceed a budget; the run holds, its step is to start again.

    `scope` is `run`, `workspace` or `caller` (of a `day`), `key` whose it is. Of `limit_micros`, `taken_micros` are
    spent or held back, and the call may need `needed_micros`; all 0 where the price of `unpriced_model` is not known.
    """

    type = "run.budget_reached"
    scope: str
    key: str
    day: str = ""
    limit_micros: int = 0
    taken_micros: int = 0
    needed_micros: int = 0
    unpriced_model: str = ""


@dataclass(frozen=True, slots=True)
class BudgetSet(Event):
    """Somebody gave the run another budget."""

    type = "run.budget_set"
    budget: Budget
    by: str = ""


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
class Erased(Event):
    """Texts and payloads that the run's events name by these digests are gone, for good; their salts too."""

    type = "run.erased"
    erased: tuple[str, ...]
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class WorkspaceRemoved(Event):
    """The workspace is no longer in Interlock's care: nothing can be done, or undone, on it any more."""

    type = "workspace.removed"
    by: str = ""
    directory_deleted: bool = False
