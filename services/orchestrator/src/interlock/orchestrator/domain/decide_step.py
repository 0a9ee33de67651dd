"""Results of actions: each turns into events, or into nothing when the state has moved on without it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from interlock.common.errors import Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import time_text
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.model import (
    MAX_ATTEMPTS,
    Approval,
    Failure,
    Gate,
    ModelCall,
    OnFailure,
    PauseReason,
    Prepared,
    Run,
    RunState,
    Step,
    StepKind,
    StepState,
)

_MOVED = frozenset({Reason.WORKSPACE_DRIFTED, Reason.WORKSPACE_HEAD_MOVED, Reason.EFFECT_DIGEST_MISMATCH})
"""Failures that say the workspace is not what the preview stood on: a new preview may succeed."""


def replied(
    run: Run, ctx: Context, number: int, attempt: int, reply_payload: str, calls: Sequence[ModelCall]
) -> list[e.Event]:
    """The model answered an analyze or summarize step. What it cost is recorded even when nobody waits."""
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    if not _waits(run, number, attempt, StepState.PREPARING):
        return called
    done = e.StepSucceeded(attempt, run.head_tree, reply_payload=reply_payload, step=number)
    return [*called, done]


def drafted(
    run: Run, ctx: Context, number: int, attempt: int, draft_payload: str, calls: Sequence[ModelCall]
) -> list[e.Event]:
    """The model drafted the content of an edit_file step."""
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    if not _waits(run, number, attempt, StepState.PREPARING):
        return called
    return [*called, e.StepDrafted(draft_payload, step=number)]


def proposed(run: Run, ctx: Context, number: int, attempt: int, prepared: Prepared) -> list[e.Event]:
    """The executor said what would run; the step asks for approval of it."""
    if not _waits(run, number, attempt, StepState.PREPARING):
        return []
    known = e.StepProposed(attempt, prepared, step=number)
    return [
        *_drift(run, prepared),
        known,
        _ask(run, ctx, number, attempt, Gate.COMMAND, prepared.request_digest),
    ]


def prepared(
    run: Run, ctx: Context, number: int, attempt: int, effect: Prepared, failure: Failure | None = None
) -> list[e.Event]:
    """The executor computed the effect, or the step failed in its fork."""
    if not _waits(run, number, attempt, StepState.PREPARING, StepState.APPLYING):
        return []
    step = run.steps[number - 1]
    known = [*_drift(run, effect), e.StepPrepared(attempt, effect, step=number)]
    if failure is not None:
        return [*known, *failed(step, failure)]
    return [*known, *_after_prepared(run, ctx, step, effect)]


def applied(
    run: Run, ctx: Context, number: int, attempt: int, head_tree: str, *, merged: bool
) -> list[e.Event]:
    """The executor published the effect."""
    if not _waits(run, number, attempt, StepState.APPLYING):
        return []
    return [e.StepSucceeded(attempt, head_tree, merged, step=number)]


def discarded(run: Run, ctx: Context, number: int, attempt: int) -> list[e.Event]:
    """The executor stopped or threw away an attempt."""
    if (number, attempt) not in run.discards:
        return []
    return [e.EffectDiscarded(attempt, step=number)]


def action_failed(
    run: Run,
    ctx: Context,
    number: int,
    attempt: int,
    failure: Failure,
    calls: Sequence[ModelCall] = (),
) -> list[e.Event]:
    """An action for a step ended with an error that repeating it does not cure."""
    called: list[e.Event] = [e.ModelCalled(call, step=number) for call in calls]
    if not _waits(run, number, attempt, StepState.PREPARING, StepState.APPLYING):
        return called
    step = run.steps[number - 1]
    if failure.reason == Reason.OUTCOME_UNKNOWN.value:
        unknown = e.StepOutcomeUnknown(failure, step=number)
        hold = run.state is RunState.RUNNING and not run.cancelling
        return [*called, unknown, *([e.RunPaused(PauseReason.OUTCOME_UNKNOWN.value)] if hold else [])]
    moved = failure.reason in _MOVED and attempt < MAX_ATTEMPTS and not run.cancelling
    if moved:
        again = e.PreviewSuperseded(attempt + 1, failure.reason, failure.message, step=number)
        return [*called, again]
    return [*called, *failed(step, failure, may_retry=not run.cancelling, stop=not run.cancelling)]


def failed(step: Step, failure: Failure, *, may_retry: bool = True, stop: bool = True) -> list[e.Event]:
    """The events of a failed step: it is tried again, or stops the run, or lets it go on."""
    again = may_retry and step.failures < step.spec.retries and step.attempt < MAX_ATTEMPTS
    event = e.StepFailed(step.attempt, failure, again, step=step.number)
    if again or not stop or step.spec.on_failure is OnFailure.CONTINUE:
        return [event]
    return [event, e.RunFailed(failure)]


def _after_prepared(run: Run, ctx: Context, step: Step, effect: Prepared) -> list[e.Event]:
    if step.state is StepState.PREPARING and step.gate in (Gate.EFFECT, Gate.BOTH):
        return [_ask(run, ctx, step.number, step.attempt, Gate.EFFECT, effect.effect_digest)]
    if step.spec.kind is StepKind.READ_FILE or not effect.changes_tree:
        return [e.StepSucceeded(step.attempt, effect.base_tree, step=step.number)]
    if step.state is StepState.APPLYING:
        return []
    return [e.StepApplying(step.attempt, digest=effect.effect_digest, step=step.number)]


def _ask(run: Run, ctx: Context, number: int, attempt: int, gate: Gate, digest: str) -> e.Event:
    timeout = run.policy.approval_timeout_us
    expires = time_text(ctx.now + timedelta(microseconds=timeout)) if timeout else ""
    approval = Approval(ctx.new_id("apr"), gate, digest, attempt, expires)
    return e.ApprovalRequested(approval, step=number)


def _drift(run: Run, effect: Prepared) -> list[e.Event]:
    """The executor adopts what people changed in the live directory before it forks; the journal says so."""
    if not run.head_tree or effect.base_tree == run.head_tree:
        return []
    return [e.DriftAdopted(run.head_tree, effect.base_tree)]


def _waits(run: Run, number: int, attempt: int, *states: StepState) -> bool:
    step = run.step(number)
    return step is not None and step.attempt == attempt and step.state in states
