"""What can happen to a run: one frozen dataclass an event, and its form in the journal.

`encode` leaves out every field that has its default value, so that a field added later does not change the
bytes, and with them the hash, of events written before it existed. `decode` fills the defaults in again.
Enumerations are written as their values, nested records as objects, times as RFC 3339 text.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from interlock.orchestrator.domain.model import (
    Approval,
    Budget,
    Failure,
    Json,
    ModelCall,
    Policy,
    Prepared,
    RejectAction,
    StepSpec,
    Verdict,
)

REGISTRY: dict[str, type[Event]] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a run; `step` is 0 when it is about the run itself."""

    type: ClassVar[str] = ""
    step: int = field(default=0, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # slots=True makes each class twice; the second one, complete with fields, stays registered.
        if cls.type:
            REGISTRY[cls.type] = cls


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
    """The intent to publish an older tree, recorded before it happens."""

    type = "run.rollback_requested"
    operation_id: str
    tree: str
    to_step: int = 0
    by: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RolledBack(Event):
    """The older tree is published."""

    type = "run.rolled_back"
    operation_id: str
    head_tree: str
    previous_tree: str


@dataclass(frozen=True, slots=True)
class RollbackFailed(Event):
    """Nothing was published."""

    type = "run.rollback_failed"
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
    """The step is done; its effect, if it has one, is published and `head_tree` is the head."""

    type = "step.succeeded"
    attempt: int
    head_tree: str = ""
    merged_drift: bool = False
    reply_payload: str = ""


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


def encode(event: Event) -> dict[str, Any]:
    """The event's `data` object: its fields without defaults and without `step`."""
    return _object(event)


def decode(type_: str, step: int, data: Json) -> Event:
    """The event with this type, step and data. Raises ValueError for what no version has written."""
    cls = REGISTRY.get(type_)
    if cls is None:
        raise ValueError(f"unknown event type {type_!r}")
    return cls(step=step, **_fields(cls, data, type_))


_MISSING: Any = object()
_DEFAULTS: dict[Any, tuple[tuple[str, Any], ...]] = {}
_HINTS: dict[Any, dict[str, Any]] = {}


def _object(record: Any) -> dict[str, Any]:
    out = {}
    for name, default in _defaults(type(record)):
        value = getattr(record, name)
        if value != default:
            out[name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int:
        return value
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return _object(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else _MISSING


def _defaults(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    known = _DEFAULTS.get(cls)
    if known is None:
        fields = (f for f in dataclasses.fields(cls) if f.name != "step")
        known = _DEFAULTS[cls] = tuple((f.name, _default(f)) for f in fields)
    return known


def _hints(cls: type[Any]) -> dict[str, Any]:
    known = _HINTS.get(cls)
    if known is None:
        hints = get_type_hints(cls)
        known = _HINTS[cls] = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name != "step"}
    return known


def _fields(cls: type[Any], data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not an object")
    hints = _hints(cls)
    unknown = data.keys() - hints.keys()
    missing = {name for name, default in _defaults(cls) if default is _MISSING} - data.keys()
    if unknown or missing:
        raise ValueError(f"{where} has the wrong fields: {sorted(unknown | missing)}")
    return {name: _typed(hints[name], value, f"{where}.{name}") for name, value in data.items()}


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        if value is None:
            return None
        (hint,) = (arm for arm in get_args(hint) if arm is not NoneType)
        return _typed(hint, value, where)
    if origin is tuple:
        _require(isinstance(value, list), where)
        return tuple(_typed(get_args(hint)[0], item, where) for item in value)
    if not isinstance(hint, type):
        _require(isinstance(value, dict), where)
        return value
    if issubclass(hint, Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        return hint(**_fields(hint, value, where))
    _require(type(value) is hint, where)
    return value


def _require(holds: bool, where: str) -> None:
    if not holds:
        raise ValueError(f"{where} has a value of the wrong type")
