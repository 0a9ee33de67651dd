"""States, specifications and records of runs and steps: frozen, JSON-friendly, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from interlock.orchestrator.domain.effects import Effects
from interlock.orchestrator.domain.steps import Chunked

MAX_STEPS = 10_000
"""Most steps of one run."""

MAX_ATTEMPTS = 100
"""Most attempts of one step, retries, edits and renewed previews included."""

MAX_SUPERSEDED = 10
"""Most times that the preview of one try of a step is replaced because the workspace moved under it."""

ZERO_DIGEST = "sha256:" + "0" * 64
"""`prev` of a run's first event."""

Json = Mapping[str, Any]
"""An object of a journal event: text keys; text, integers, booleans, null, lists and objects as values."""


class RunState(StrEnum):
    """Where a run is in its life."""

    CREATED = "CREATED"
    PLANNING = "PLANNING"
    PLANNED = "PLANNED"
    RUNNING = "RUNNING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class StepState(StrEnum):
    """Where a step is in its life."""

    PENDING = "PENDING"
    PREPARING = "PREPARING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    APPROVED = "APPROVED"
    APPLYING = "APPLYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"


class StepKind(StrEnum):
    """What a step does."""

    READ_FILE = "read_file"
    ANALYZE = "analyze"
    EDIT_FILE = "edit_file"
    RUN_COMMAND = "run_command"
    SUMMARIZE = "summarize"


class Gate(StrEnum):
    """Where a step waits. COMMAND and EFFECT are also the two questions an approval can ask."""

    NONE = "none"
    COMMAND = "command"
    EFFECT = "effect"
    BOTH = "both"


class OnFailure(StrEnum):
    """What follows a failed step."""

    STOP = "stop"
    CONTINUE = "continue"


class Verdict(StrEnum):
    """What a decision says."""

    APPROVE = "approve"
    REJECT = "reject"
    SKIP = "skip"
    EDIT = "edit"


class RejectAction(StrEnum):
    """What a rejection leads to."""

    FAIL_RUN = "fail_run"
    SKIP_STEP = "skip_step"
    REPLAN = "replan"


class PauseReason(StrEnum):
    """Why a run is PAUSED."""

    REQUESTED = "requested"
    BUDGET_REACHED = "budget_reached"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SINGLE_STEP = "single_step"
    REOPENED = "reopened"


RUN_FINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})
STEP_ACTIVE = frozenset(
    {StepState.PREPARING, StepState.AWAITING_APPROVAL, StepState.APPROVED, StepState.APPLYING}
)
STEP_FINAL = frozenset(StepState) - STEP_ACTIVE - {StepState.PENDING, StepState.OUTCOME_UNKNOWN}
MODEL_KINDS = frozenset({StepKind.ANALYZE, StepKind.SUMMARIZE})
WRITING_KINDS = frozenset({StepKind.EDIT_FILE, StepKind.RUN_COMMAND})


@dataclass(frozen=True, slots=True)
class Policy:
    """Gates of the dangerous kinds, and how long approvals stay open (microseconds; None = for ever)."""

    name: str = "default"
    edit_file_gate: Gate = Gate.EFFECT
    run_command_gate: Gate = Gate.COMMAND
    steps_may_weaken: bool = False
    approval_timeout_us: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Most micro-US-dollars and model calls; 0 = no limit."""

    max_cost_micros: int = 0
    max_model_calls: int = 0


@dataclass(frozen=True, slots=True)
class StepSpec:
    """What a step is asked to do.

    `input` holds the fields of the kind's input message under their proto names. Long texts are kept in the
    payload table: their key then ends in `_payload` and the value is the text's digest.
    """

    kind: StepKind
    input: Json
    name: str = ""
    gate: Gate | None = None
    retries: int = 0
    on_failure: OnFailure = OnFailure.STOP


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step or run failed: a reason's name and what people should know."""

    reason: str
    message: str
    field: str = ""
    fix: str = ""
    metadata: Json = default(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model. None = not reported, which is not 0. Latency in microseconds."""

    purpose: str
    gateway: str
    model: str
    prompt_version: str
    prompt_payload: str = ""
    reply_payload: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_micros: int | None = None
    latency_us: int = 0
    cache_hit: bool | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What model calls cost together. None = no call reported it; with `unpriced` calls the sum is a lower bound."""

    calls: int = 0
    unpriced: int = 0
    cost_micros: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def plus(self, call: ModelCall) -> Spent:
        """With one more call."""
        return Spent(
            self.calls + 1,
            self.unpriced + (call.cost_micros is None),
            _sum(self.cost_micros, call.cost_micros),
            _sum(self.prompt_tokens, call.prompt_tokens),
            _sum(self.completion_tokens, call.completion_tokens),
        )


def _sum(known: int | None, more: int | None) -> int | None:
    return known if more is None else (known or 0) + more


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the executor computed: the facts a decision is bound to. `effect_payload` names the whole effect.

    `effect_digest` is empty while only the request is known (a COMMAND gate's proposal) and when the step failed
    in its fork. `limits` are the ones in force.
    """

    request_digest: str
    base_tree: str
    effect_payload: str
    effect_digest: str = ""
    result_tree: str = ""
    exit_code: int | None = None
    limits: Json = default(default_factory=dict)

    @property
    def changes_tree(self) -> bool:
        """Whether there is anything to publish."""
        return bool(self.result_tree) and self.result_tree != self.base_tree


@dataclass(frozen=True, slots=True)
class Approval:
    """The open question of a step. `expires_at` is RFC 3339 text, empty = never.

    `replaces` is the approval that was given at this gate before the workspace moved under what it was about.
    """

    approval_id: str
    gate: Gate
    digest: str
    attempt: int
    expires_at: str = ""
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What was approved at one gate of a step: the question, who answered it and how, and what was shown."""

    approval: Approval
    asked_at: datetime
    decided_at: datetime
    subject: str
    channel: str
    comment: str
    shown: Prepared


@dataclass(frozen=True, slots=True)
class Superseded:
    """Why the preview before had to be replaced, how often that has happened, and the paths in the way."""

    reason: str
    times: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForkOf:
    """Where a fork comes from: event `seq` of another run's journal, its digest `head`, and the tree it began with.

    Steps up to `at_step` are inherited.
    """

    run_id: str
    seq: int
    head: str
    tree: str
    at_step: int = 0


@dataclass(frozen=True, slots=True)
class InheritedStep:
    """A step of another run as it had ended there: what was asked and what came of it, nothing that was decided."""

    spec: StepSpec
    state: StepState
    attempt: int = 0
    prepared: Prepared | None = None
    reply_payload: str = ""
    failure: Failure | None = None
    head_tree: str = ""


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
    step was started or edited; with `superseded`, people have seen that and not what replaces it.
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
    inherited: bool = False
    kept_paths: tuple[str, ...] = ()
    kept_total: int = 0

    @property
    def key(self) -> str:
        """The step's name in `context_keys`."""
        return f"step-{self.number}"

    def review(self, gate: Gate) -> Reviewed | None:
        """What was approved at this gate of an attempt before this one."""
        found = (r for r in self.reviewed if r.approval.gate is gate and r.approval.attempt < self.attempt)
        return next(found, None)


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
class Planning:
    """What the planner was asked for; `feedback` marks a re-plan, `asked` is the event that asked."""

    additional_context: str = ""
    max_steps: int = 0
    feedback: str = ""
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the journal tells it, and the head of its chain (`seq`, `head`).

    `cursor` is the step that was active last, `scan_from` a step before which none is PENDING, `discards` the
    attempts (step, attempt) that the executor has yet to throw away, `steps_allowed` how many steps may still
    start (None = all), `spent` the sum over the model calls of the run and its steps, `undone` whether anything
    of it was ever rolled back or reverted.
    """

    run_id: str
    goal: str
    workspace_id: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    policy: Policy = Policy()
    budget: Budget = Budget()
    labels: Json = default(default_factory=dict)
    traceparent: str = ""
    fork: ForkOf | None = None
    state: RunState = RunState.CREATED
    pause_reason: str = ""
    steps_allowed: int | None = None
    cancelling: bool = False
    planning: Planning | None = None
    waiting: Waiting | None = None
    rollback: Rollback | None = None
    revert: Revert | None = None
    undone: bool = False
    failure: Failure | None = None
    steps: Chunked[Step] = default(default_factory=Chunked)
    steps_done: int = 0
    cursor: int = 0
    scan_from: int = 1
    discards: tuple[tuple[int, int], ...] = ()
    model_calls: tuple[ModelCall, ...] = ()
    spent: Spent = Spent()
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
        return self.steps[number - 1] if 0 < number <= len(self.steps) else None

    @property
    def current(self) -> Step | None:
        """The step under way, if there is one; a run has at most one."""
        step = self.step(self.cursor)
        return step if step is not None and step.state in STEP_ACTIVE else None
