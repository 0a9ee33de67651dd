"""What a state wants done. Actions are a function of the state alone, so a restarted driver finds them again.

Every action is safe to repeat: the executor answers a repeated (run, step, attempt) from its record, and a
model's reply that arrives twice is recorded once.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.model import (
    MODEL_KINDS,
    Gate,
    Planning,
    Run,
    Step,
    StepKind,
    StepState,
)


@dataclass(frozen=True, slots=True)
class Action:
    """Something outside the state machine that has to happen; its result comes back as a command."""


@dataclass(frozen=True, slots=True)
class StepAction(Action):
    """An action for one attempt of one step."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class AskModel(StepAction):
    """Ask the planner to analyse or summarise."""


@dataclass(frozen=True, slots=True)
class Draft(StepAction):
    """Ask the planner for a file's new content."""


@dataclass(frozen=True, slots=True)
class Propose(StepAction):
    """Ask the executor what would run."""


@dataclass(frozen=True, slots=True)
class Prepare(StepAction):
    """Have the executor compute the effect in a fork; only if it is still what was approved, if anything was."""

    expected_request: str = ""


@dataclass(frozen=True, slots=True)
class Apply(StepAction):
    """Have the executor publish the effect."""

    effect_digest: str
    approved_digest: str
    approval_id: str


@dataclass(frozen=True, slots=True)
class Discard(StepAction):
    """Have the executor stop or throw away an attempt."""


@dataclass(frozen=True, slots=True)
class AskPlan(Action):
    """Ask the planner for steps."""

    planning: Planning


@dataclass(frozen=True, slots=True)
class Restore(Action):
    """Have the executor publish an older tree."""

    operation_id: str
    tree: str


@dataclass(frozen=True, slots=True)
class Expire(StepAction):
    """Report back at `at` (RFC 3339) that an approval's time is over."""

    approval_id: str
    at: str


def actions(run: Run) -> tuple[Action, ...]:
    """Everything the state wants done now; they may be carried out at the same time."""
    wanted: list[Action] = [Discard(step, attempt) for step, attempt in run.discards]
    if run.rollback is not None:
        wanted.append(Restore(run.rollback.operation_id, run.rollback.tree))
    if run.planning is not None and not run.cancelling:
        wanted.append(AskPlan(run.planning))
    current = run.current
    if current is not None:
        action = _for_step(current, cancelling=run.cancelling)
        if action is not None:
            wanted.append(action)
    return tuple(wanted)


def needs_model(step: Step) -> bool:
    """Whether the step's next action is a model call."""
    if step.spec.kind in MODEL_KINDS:
        return True
    drafted = "instruction" in step.spec.input or "instruction_payload" in step.spec.input
    return step.spec.kind is StepKind.EDIT_FILE and drafted and not step.draft_payload


def _for_step(step: Step, *, cancelling: bool) -> Action | None:
    if step.state is StepState.APPLYING:
        return _applying(step, cancelling=cancelling)
    if cancelling:
        return None
    if step.state is StepState.AWAITING_APPROVAL:
        return _expiry(step)
    return _preparing(step) if step.state is StepState.PREPARING else None


def _preparing(step: Step) -> Action:
    if needs_model(step):
        kind = AskModel if step.spec.kind in MODEL_KINDS else Draft
        return kind(step.number, step.attempt)
    if step.gate in (Gate.COMMAND, Gate.BOTH) and not step.approved_request:
        return Propose(step.number, step.attempt)
    return Prepare(step.number, step.attempt, step.approved_request)


def _applying(step: Step, *, cancelling: bool) -> Action | None:
    prepared = step.prepared
    if prepared is None or not prepared.effect_digest:
        return None if cancelling else Prepare(step.number, step.attempt, step.approved_request)
    return Apply(
        step.number,
        step.attempt,
        prepared.effect_digest,
        step.approved_digest or prepared.effect_digest,
        step.last_approval_id if step.approved_digest else "",
    )


def _expiry(step: Step) -> Action | None:
    approval = step.approval
    if approval is None or not approval.expires_at:
        return None
    return Expire(step.number, step.attempt, approval.approval_id, approval.expires_at)
