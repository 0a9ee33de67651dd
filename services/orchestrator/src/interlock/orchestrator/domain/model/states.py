"""States of runs and steps, and the words that plans, policies and decisions choose from."""

from __future__ import annotations

from enum import StrEnum


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


class RuleEffect(StrEnum):
    """What a rule says about the steps that it is about; the first of these that any rule says counts."""

    DENY = "deny"
    REQUIRE = "require"
    ALLOW = "allow"


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
    PLANNED_AGAIN = "planned_again"
    PLANNING_FAILED = "planning_failed"
    STEP_LIMIT = "step_limit"


RUN_FINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED})

STEP_ACTIVE = frozenset(
    {StepState.PREPARING, StepState.AWAITING_APPROVAL, StepState.APPROVED, StepState.APPLYING}
)

STEP_FINAL = frozenset(StepState) - STEP_ACTIVE - {StepState.PENDING, StepState.OUTCOME_UNKNOWN}

MODEL_KINDS = frozenset({StepKind.ANALYZE, StepKind.SUMMARIZE})

WRITING_KINDS = frozenset({StepKind.EDIT_FILE, StepKind.RUN_COMMAND})
