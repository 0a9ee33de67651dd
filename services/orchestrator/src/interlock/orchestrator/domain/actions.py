"""What a state wants done. Actions are a function of the state alone, so a restarted driver finds them again.

Every action is safe to repeat: the executor answers a repeated (run, step, attempt) from its record, and a
model's reply that arrives twice is recorded once.
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.going_back import Change, changes_back
from interlock.orchestrator.domain.model import (
    MODEL_KINDS,
    Gate,
    Planning,
    Rollback,
    Run,
    RunState,
    Step,
    StepKind,
    StepSpec,
    StepState,
)
from interlock.orchestrator.domain.timers import next_due


@dataclass(frozen=True, slots=True)
class Action:
    """Something outside the state machine that has to happen; its result comes back as a command."""


@dataclass(frozen=True, slots=True)
class StepAction(Action):
    """An action for one attempt of one step."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Judge(StepAction):
    """Ask the rules about the step before it begins."""


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
class Begin(Action):
    """Start the run as soon as it is its turn on its workspace."""


@dataclass(frozen=True, slots=True)
class Restore(Action):
    """Have the executor go back to an older tree, from the head that the run left.

    Where somebody else has changed the workspace in between, the `changes` (from, to) are made to what there is now.
    `from_tree` empty: to that very tree, whatever there is now.
    """

    operation_id: str
    tree: str
    from_tree: str = ""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeOut(Action):
    """Have the executor take one step's effect out of the workspace."""

    operation_id: str
    step: int
    from_tree: str
    to_tree: str


@dataclass(frozen=True, slots=True)
class Due(StepAction):
    """Report back at `at` (RFC 3339): by then an approval is reminded of, goes to others too, or is over."""

    approval_id: str
    at: str


def actions(run: Run) -> tuple[Action, ...]:
    """Everything the state wants done now; they may be carried out at the same time. Of a run set aside: nothing."""
    if run.set_aside is not None:
        return ()
    wanted: list[Action] = [Discard(step, attempt) for step, attempt in run.discards]
    if run.rollback is not None:
        wanted.append(_restore(run, run.rollback))
    if (revert := run.revert) is not None:
        wanted.append(TakeOut(revert.operation_id, revert.step, revert.from_tree, revert.to_tree))
    if run.waiting is not None and not run.cancelling:
        wanted.append(Begin())
    if run.planning is not None and run.state is RunState.PLANNING and not run.cancelling:
        wanted.append(AskPlan(run.planning))
    current = run.current
    action = step_action(current) if current is not None else None
    if action is not None and not _held(run, action):
        wanted.append(action)
    return tuple(wanted)


def _restore(run: Run, asked: Rollback) -> Restore:
    changes = changes_back(run.steps, asked.moment) if asked.from_tree else ()
    return Restore(asked.operation_id, asked.tree, asked.from_tree, changes)


def name(action: Action) -> str:
    """The action's name in logs, traces and the journal: `prepare`."""
    return type(action).__name__.lower()


def step_action(step: Step) -> StepAction | None:
    """What the step wants done next, whatever holds the run."""
    if step.state is StepState.PREPARING:
        return _preparing(step)
    if step.state is StepState.APPLYING:
        return _applying(step)
    return _due(step) if step.state is StepState.AWAITING_APPROVAL else None


def wants(run: Run, number: int, attempt: int, kind: type[StepAction]) -> bool:
    """Whether the result of such an action is still waited for; a result that is not is stale."""
    step = run.step(number)
    return step is not None and step.attempt == attempt and isinstance(step_action(step), kind)


def _held(run: Run, action: StepAction) -> bool:
    """A cancelled run only finishes what it has begun to publish; nothing is forked while an undo publishes."""
    if run.cancelling:
        return not isinstance(action, Apply)
    undoing = run.rollback is not None or run.revert is not None
    return undoing and not isinstance(action, Due)


def needs_model(step: Step) -> bool:
    """Whether the step's next action is a model call."""
    if step.spec.kind in MODEL_KINDS:
        return True
    return is_drafted(step.spec) and not step.draft_payload


def is_drafted(spec: StepSpec) -> bool:
    """Whether a model writes the new content of the file."""
    asked = "instruction" in spec.input or "instruction_payload" in spec.input
    return spec.kind is StepKind.EDIT_FILE and asked


def _preparing(step: Step) -> StepAction:
    if step.judge and step.ruling is None:
        return Judge(step.number, step.attempt)
    if needs_model(step):
        kind = AskModel if step.spec.kind in MODEL_KINDS else Draft
        return kind(step.number, step.attempt)
    if step.gate in (Gate.COMMAND, Gate.BOTH) and not (step.approved_request or step.tried_request):
        return Propose(step.number, step.attempt)
    return Prepare(step.number, step.attempt, step.approved_request or step.tried_request)


def _applying(step: Step) -> StepAction:
    prepared = step.prepared
    if prepared is None or not prepared.effect_digest:
        return Prepare(step.number, step.attempt, step.approved_request)
    # What an envelope let through is that effect: a person has approved the command at most, before it ran.
    given = "" if step.envelope else step.approved_digest
    return Apply(
        step.number,
        step.attempt,
        prepared.effect_digest,
        given or prepared.effect_digest,
        step.last_approval_id if given else "",
    )


def _due(step: Step) -> StepAction | None:
    at = next_due(step)
    if at is None or step.approval is None:
        return None
    return Due(step.number, step.attempt, step.approval.approval_id, time_text(at))
