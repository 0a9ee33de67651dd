"""Forking: the beginning of one run as the beginning of another.

The new run's first event names the event of the older journal that it stands on; `run.steps_inherited` says what had
come of the steps by then, so that the new journal is complete by itself, and a verifier with both can compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.gates import check_gate
from interlock.orchestrator.domain.model import (
    MAX_STEPS,
    STEP_FINAL,
    ForkOf,
    InheritedStep,
    Json,
    Run,
    Step,
    StepSpec,
    StepState,
)

EVENT_STEPS = 200
"""Most steps in one `run.steps_inherited` event."""


@dataclass(slots=True)
class Prefix:
    """Takes a run's events in order and finds where a fork after step `at_step` begins.

    That is where the step, and all before it, had last ended before a later one first started; for 0, before the
    first one started. What came after counts only in so far as it added steps to the plan: those that a re-planning
    put in the place of others belong to what happened later.
    """

    at_step: int
    run: Run | None = None
    point: Run | None = None
    pending: list[StepSpec] = field(default_factory=list)
    _open: int = 0
    _settled: bool = False
    _replanned: bool = False

    def add(self, record: Recorded) -> None:
        """Take the next event."""
        before, event = self.run, record.event
        self.run = evolve(before, record)
        if isinstance(event, e.StepStarted) and event.step > self.at_step:
            self._settled = True
        if not self._settled:
            if self._ended(before, event):
                self.point = self.run
            elif self._open:
                self.point = None  # one of them is tried again
        self._plan(event)

    def _ended(self, before: Run | None, event: e.Event) -> bool:
        """Whether this event is one at which every step up to `at_step` had just ended."""
        assert self.run is not None
        if not self.at_step:
            return True
        if event.step > self.at_step:
            return False
        was_open = self._open
        if event.step and before is not None:
            new, old = self.run.steps[event.step - 1], before.steps[event.step - 1]
            self._open += (old.state in STEP_FINAL) - (new.state in STEP_FINAL)
        else:
            missing = max(self.at_step - len(self.run.steps), 0)
            self._open = missing + sum(s.state not in STEP_FINAL for s in self.run.steps[: self.at_step])
        return not self._open and (bool(was_open) or self.point is None)

    def _plan(self, event: e.Event) -> None:
        """Keep what was asked for of the later steps: as it was asked, not as somebody edited it since."""
        if isinstance(event, e.Planned) and event.replaces_pending and self._settled:
            self._replanned = True
        if self._replanned:
            return
        if isinstance(event, e.StepsAdded):
            self._later(event.first, list(event.specs))
        elif isinstance(event, e.StepsInherited):
            self._later(event.first, [step.spec for step in event.steps])

    def _later(self, first: int, specs: list[StepSpec]) -> None:
        self.pending += specs[max(self.at_step - first + 1, 0) :]


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a fork begins: the event it stands on, the tree (empty: nobody had touched the workspace), the steps."""

    parent: Run
    seq: int
    head: str
    tree: str
    inherited: tuple[InheritedStep, ...]
    pending: tuple[StepSpec, ...]


def beginning(records: Iterable[Recorded], at_step: int) -> Beginning:
    """`found` for a whole journal at hand."""
    prefix = Prefix(at_step)
    for record in records:
        prefix.add(record)
    return found(prefix)


def found(prefix: Prefix) -> Beginning:
    """What the events say. Raises STEP_NOT_FOUND, STEP_WRONG_STATE for a step that has not ended."""
    run, point, at_step = prefix.run, prefix.point, prefix.at_step
    assert run is not None
    if at_step > len(run.steps):
        raise InterlockError(
            Reason.STEP_NOT_FOUND,
            f"The run {run.run_id} has {len(run.steps)} steps; there is no step {at_step}.",
            field="at_step",
            metadata={"run_id": run.run_id, "step": str(at_step)},
        )
    if point is None:
        raise _not_ended(run, at_step)
    steps = tuple(_inherited(step) for step in point.steps[:at_step])
    tree = point.head_tree or run.base_tree
    return Beginning(run, point.seq, point.head, tree, steps, tuple(prefix.pending))


def fork(
    ctx: Context,
    begin: Beginning,
    *,
    tree: str,
    workspace_id: str,
    labels: Json,
    traceparent: str = "",
    without_plan: bool = False,
    start: bool = False,
) -> list[e.Event]:
    """The events of the new run. Raises RUN_EMPTY_PLAN when it is to start and has nothing to do."""
    parent = begin.parent
    pending = () if without_plan else begin.pending[: MAX_STEPS - len(begin.inherited)]
    at_step = len(begin.inherited)
    if start and not pending:
        raise InterlockError(
            Reason.RUN_EMPTY_PLAN,
            f"Nothing of the plan of {parent.run_id} comes after step {at_step}, so the fork has nothing to start.",
            field="start",
            fix="Fork it without starting it, then add steps with `interlock step add`.",
        )
    for index, spec in enumerate(pending):
        check_gate(spec, parent.policy, index=at_step + index, number=at_step + index + 1)
    origin = ForkOf(parent.run_id, begin.seq, begin.head, tree, at_step)
    created = e.RunCreated(
        parent.goal,
        workspace_id,
        ctx.subject,
        parent.policy,
        parent.budget,
        dict(labels),
        traceparent,
        origin,
    )
    inherited = [
        e.StepsInherited(at + 1, begin.inherited[at : at + EVENT_STEPS])
        for at in range(0, at_step, EVENT_STEPS)
    ]
    added = [
        e.StepsAdded(at_step + at + 1, pending[at : at + EVENT_STEPS], ctx.subject)
        for at in range(0, len(pending), EVENT_STEPS)
    ]
    started = [e.RunStarted(ctx.subject)] if start else []
    return [created, *inherited, *added, *started]


def _inherited(step: Step) -> InheritedStep:
    return InheritedStep(
        step.spec, step.state, step.attempt, step.prepared, step.reply_payload, step.failure, step.head_tree
    )


def _not_ended(run: Run, at_step: int) -> InterlockError:
    open_ = [step for step in run.steps[:at_step] if step.state not in STEP_FINAL]
    step = open_[0] if open_ else run.steps[at_step - 1]
    unknown = step.state is StepState.OUTCOME_UNKNOWN
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {step.number} of {run.run_id} is {step.state.value}; a fork can begin after steps that have ended.",
        field="at_step",
        fix=f"Say first what is to become of it: `interlock step retry {run.run_id} {step.number}` or `step skip`."
        if unknown
        else f"Fork at step {step.number - 1}, or wait until step {step.number} has ended.",
        metadata={
            "run_id": run.run_id,
            "step": str(step.number),
            "current": step.state.value,
            "allowed": ",".join(sorted(state.value for state in STEP_FINAL)),
        },
    )
