"""One run as the journal tells it, and what is under way in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime

from interlock.orchestrator.domain.model.copying import copier
from interlock.orchestrator.domain.model.envelopes import Envelope
from interlock.orchestrator.domain.model.forks import ForkOf
from interlock.orchestrator.domain.model.specs import Budget, Failure, Json, Policy
from interlock.orchestrator.domain.model.spending import ModelCall, Spent
from interlock.orchestrator.domain.model.states import STEP_ACTIVE, RunState
from interlock.orchestrator.domain.model.steps import Step
from interlock.orchestrator.domain.steps import Chunked

ZERO_DIGEST = "sha256:" + "0" * 64
"""`prev` of a run's first event."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A rollback that was recorded and not yet carried out; the tree is that after event `moment` (0: the first).

    `from_tree`: the head it leads back from, or empty for any.
    """

    operation_id: str
    tree: str
    to_step: int
    moment: int = 0
    from_tree: str = ""


@dataclass(frozen=True, slots=True)
class Revert:
    """A revert that was recorded and not yet carried out: of what led from `to_tree` to `from_tree`."""

    operation_id: str
    step: int
    from_tree: str
    to_tree: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that was to start and waits for its workspace; `holder` had it when it began to wait."""

    by: str
    since: datetime
    holder: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """Nobody drives the run any more: `action` met the same defect `tries` times without anything else happening."""

    action: str
    failure: Failure
    tries: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Planning:
    """What the planner was asked for; `asked` is the event that asked.

    `feedback` marks a re-plan, `going_on` the next steps of a run whose steps are decided a few at a time. `then`:
    what becomes of the run afterwards, `planned`, `paused`, or by itself.
    """

    additional_context: str = ""
    max_steps: int = 0
    feedback: str = ""
    asked: int = 0
    going_on: bool = False
    then: str = ""

    @property
    def again(self) -> bool:
        """Whether its steps come in place of those that did not run, after those that did."""
        return bool(self.feedback) or self.going_on


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the journal tells it, and the head of its chain (`seq`, `head`).

    `cursor` is the step that was active last, `scan_from` a step before which none is PENDING, `discards` the
    attempts (step, attempt) that the executor has yet to throw away, `steps_allowed` how many steps may still
    start (None = all), `state_since` when it came into its state, `owners` whose agents those are who have acted in
    it, `planned_for` who last asked for a plan, `keeping` the steps for which decisions were ever kept,
    `steps_at_a_time` how many the model decides on at once (0 = all), until there are `most_steps`; failures of steps
    up to `settled` were dealt with by the last re-plan; `spent` the sum over the model calls of the run and its steps,
    `undone` whether anything of it was ever rolled back or reverted.
    """

    run_id: str
    goal: str
    workspace_id: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    policy: Policy = default(default_factory=Policy)
    budget: Budget = default(default_factory=Budget)
    labels: Json = default(default_factory=dict)
    workspace_labels: Json = default(default_factory=dict)
    owners: Mapping[str, tuple[str, ...]] = default(default_factory=dict)
    planned_for: str = ""
    keeping: tuple[int, ...] = ()
    traceparent: str = ""
    replay_from: str = ""
    fork: ForkOf | None = None
    state: RunState = RunState.CREATED
    state_since: datetime | None = None
    pause_reason: str = ""
    steps_allowed: int | None = None
    steps_at_a_time: int = 0
    most_steps: int = 0
    settled: int = 0
    cancelling: bool = False
    planning: Planning | None = None
    waiting: Waiting | None = None
    set_aside: SetAside | None = None
    rollback: Rollback | None = None
    revert: Revert | None = None
    undone: bool = False
    envelopes: tuple[Envelope, ...] = ()
    workspace_removed: bool = False
    failure: Failure | None = None
    steps: Chunked[Step] = default(default_factory=Chunked)
    steps_done: int = 0
    cursor: int = 0
    scan_from: int = 1
    discards: tuple[tuple[int, int], ...] = ()
    model_calls: tuple[ModelCall, ...] = ()
    spent: Spent = default(default_factory=Spent)
    base_tree: str = ""
    head_tree: str = ""
    seq: int = 0
    head: str = ZERO_DIGEST

    @property
    def inherited(self) -> int:
        """Number of steps that came with the fork."""
        return self.fork.at_step if self.fork else 0

    def step(self, number: int) -> Step | None:
        """The step with this number, if there is one."""
        return self.steps.at(number - 1)

    @property
    def current(self) -> Step | None:
        """The step under way, if there is one; a run has at most one."""
        step = self.steps.at(self.cursor - 1)
        return step if step is not None and step.state in STEP_ACTIVE else None


changed_run = copier(Run)
"""A run with some fields changed."""
