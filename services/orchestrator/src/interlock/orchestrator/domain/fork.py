"""Forking: the beginning of one run as the beginning of another.

The new run's first event names the event of the older journal that it stands on; `run.steps_inherited` says what had
come of the steps by then, and which of their effects were in the tree and which had been undone, so that the new
journal is complete by itself, and a verifier with both can compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.effects import in_place
from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.gates import check_gate
from interlock.orchestrator.domain.inherit import inherited
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
from interlock.orchestrator.domain.people import PLANNER
from interlock.orchestrator.domain.undo import before_fork, moment_after

EVENT_STEPS = 200
"""Most steps in one `run.steps_inherited` event."""


@dataclass(slots=True)
class Prefix:
    """Takes a run's events in order and finds where a fork after step `at_step` begins.

    That is the event with which the step last ended; for 0, the one before the first step started. A step that was
    passed over has no such event: then it is that of the one before it. `whole` is the run with all its events, and
    `last` the last step whose effect is in the tree there: one that ran before `at_step` was tried again counts too.

    What came after counts only in so far as it added steps to the plan: those that a re-planning put in the place
    of others belong to what happened later.
    """

    at_step: int
    whole: Run
    run: Run | None = None
    point: Run | None = None
    last: int = 0
    pending: list[tuple[int, StepSpec]] = field(default_factory=list)
    _settled: bool = False
    _replanned: bool = False
    _moved_on: bool = False
    _goal: tuple[str, int] = ("", 0)

    def __post_init__(self) -> None:
        self._goal = moment_after(self.whole, self.at_step)

    def add(self, record: Recorded) -> None:
        """Take the next event. Those that `whole` does not know are passed over."""
        if record.seq > self.whole.seq:
            return
        event = record.event
        self.run = evolve(self.run, record)
        if isinstance(event, e.StepStarted) and event.step > self.at_step:
            self._settled = True
        if not self.at_step:
            self.point = self.point if self._settled else self.run
        elif self.point is None and not self._moved_on:
            self._look(self.run)
        self._plan(event)

    def _look(self, run: Run) -> None:
        """Whether everything to be inherited has ended now, and the workspace is at the tree."""
        tree, moment = self._goal
        if run.seq < moment:
            return
        self._moved_on = bool(run.head_tree) and run.head_tree != tree
        last = max((s.number for s in run.steps if in_place(s.effects)), default=0)
        last = max(last, self.at_step)
        steps = run.steps[:last]
        if not self._moved_on and len(steps) == last and all(s.state in STEP_FINAL for s in steps):
            self.point, self.last = run, last

    def _plan(self, event: e.Event) -> None:
        """Keep what was asked for of the later steps: as it was asked, not as somebody edited it since."""
        if isinstance(event, e.Planned) and event.replaces_pending and self._settled:
            self._replanned = True
        if self._replanned:
            return
        if isinstance(event, e.StepsAdded):
            self.pending += enumerate(event.specs, event.first)
        elif isinstance(event, e.StepsInherited):
            self.pending += enumerate((step.spec for step in event.steps), event.first)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a fork begins: the event it stands on, the tree (empty: nobody had touched the workspace), the steps.

    `asked_by` are those who asked for the pending ones: whoever forks the run asks for them too, not instead.
    """

    parent: Run
    seq: int
    head: str
    tree: str
    inherited: tuple[InheritedStep, ...]
    pending: tuple[StepSpec, ...]
    asked_by: tuple[str, ...] = ()


def found(prefix: Prefix) -> Beginning:
    """What the events say.

    Raises STEP_NOT_FOUND, and STEP_WRONG_STATE for a step that has not ended, for one that ended in the run that
    this one is a fork of, and where an earlier one was still to be carried out at that moment.
    """
    run, point, at_step = prefix.whole, prefix.point, prefix.at_step
    if at_step > len(run.steps):
        raise InterlockError(
            Reason.STEP_NOT_FOUND,
            f"The run {run.run_id} has {len(run.steps)} steps; there is no step {at_step}.",
            field="at_step",
            metadata={"run_id": run.run_id, "step": str(at_step)},
        )
    open_ = next((step for step in run.steps[:at_step] if step.state not in STEP_FINAL), None)
    if open_ is not None:
        raise _not_ended(run, open_)
    if at_step < run.inherited and not moment_after(run, at_step)[1]:
        raise before_fork(run, at_step, "at_step")
    if point is None:
        raise _never_so(run, at_step)
    steps = tuple(inherited(point, step) for step in point.steps[: prefix.last])
    tree = point.head_tree or run.base_tree
    pending = tuple(spec for number, spec in prefix.pending if number > prefix.last)
    authors = (run.step(number) for number, _ in prefix.pending if number > prefix.last)
    asked = {run.created_by, *(name for step in authors if step is not None for name in step.authors)}
    by = tuple(sorted(asked - {PLANNER})) if pending else ()
    return Beginning(run, point.seq, point.head, tree, steps, pending, by)


def fork(
    ctx: Context,
    begin: Beginning,
    *,
    tree: str,
    workspace_id: str,
    labels: Json,
    workspace_labels: Json | None = None,
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
        workspace_labels=dict(workspace_labels or {}),
        steps_at_a_time=parent.steps_at_a_time,
        most_steps=parent.most_steps,
    )
    inherited = [
        e.StepsInherited(at + 1, begin.inherited[at : at + EVENT_STEPS])
        for at in range(0, at_step, EVENT_STEPS)
    ]
    added = [
        e.StepsAdded(at_step + at + 1, pending[at : at + EVENT_STEPS], ctx.subject, begin.asked_by)
        for at in range(0, len(pending), EVENT_STEPS)
    ]
    started = [e.RunStarted(ctx.subject)] if start else []
    known = {(agent, owner) for agent, owners in parent.owners.items() for owner in owners}
    known |= {(ctx.subject, ctx.owner)} if ctx.owner else set()
    named = [e.AgentNamed(*pair) for pair in sorted(known)]
    return [created, *named, *inherited, *added, *started]


def _not_ended(run: Run, step: Step) -> InterlockError:
    unknown = step.state is StepState.OUTCOME_UNKNOWN
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"Step {step.number} of {run.run_id} is {step.state.value}; a fork can begin after steps that have ended.",
        field="at_step",
        fix="Say first what is to become of it: `interlock step retry RUN STEP` or `interlock step skip RUN STEP`."
        if unknown
        else f"Fork at step {step.number - 1}, or wait until step {step.number} has ended.",
        metadata={
            "run_id": run.run_id,
            "step": str(step.number),
            "current": step.state.value,
            "allowed": ",".join(sorted(state.value for state in STEP_FINAL)),
        },
    )


def _never_so(run: Run, at_step: int) -> InterlockError:
    ended = sorted((step.ended_seq, step.number) for step in run.steps if step.ended_seq)
    return InterlockError(
        Reason.STEP_WRONG_STATE,
        f"When step {at_step} of {run.run_id} last ended, a step before it was still to be carried out.",
        field="at_step",
        fix=f"Fork at step {ended[-1][1]}, which ended last." if ended else "Fork at step 0.",
        metadata={"run_id": run.run_id, "step": str(at_step), "current": "", "allowed": ""},
    )
