"""What follows by itself from a state: the next step starts, an approved one goes on, a run ends.

`advance` is called after every decision, so that "step 3 succeeded" and "step 4 started" are one transaction.
"""

from __future__ import annotations

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import needs_model
from interlock.orchestrator.domain.gates import effective_gate
from interlock.orchestrator.domain.model import (
    MODEL_KINDS,
    Gate,
    PauseReason,
    Run,
    RunState,
    Step,
    StepState,
)


def advance(run: Run) -> e.Event | None:
    """The next event that needs nobody, or None when the run waits for something or has ended."""
    if run.cancelling:
        return _cancel(run)
    if run.state is not RunState.RUNNING:
        return None
    step = run.current
    if step is None:
        return _next_step(run)
    return _approved(step) if step.state is StepState.APPROVED else None


def next_pending(run: Run) -> Step | None:
    """The step whose turn it is."""
    for step in run.steps[run.scan_from - 1 :]:
        if step.state is StepState.PENDING:
            return step
    return None


def budget_left(run: Run) -> bool:
    """Whether the run may make another model call, by what is known of the ones before."""
    calls = [*run.model_calls, *(call for step in run.steps for call in step.model_calls)]
    if run.budget.max_model_calls and len(calls) >= run.budget.max_model_calls:
        return False
    spent = sum(call.cost_micros or 0 for call in calls)
    return not run.budget.max_cost_micros or spent < run.budget.max_cost_micros


def _next_step(run: Run) -> e.Event:
    step = next_pending(run)
    if step is None:
        if run.steps_allowed == 0:
            return e.RunPaused(PauseReason.SINGLE_STEP.value)
        return e.RunCompleted()
    if run.steps_allowed == 0:
        return e.RunPaused(PauseReason.SINGLE_STEP.value)
    if needs_model(step) and not budget_left(run):
        return e.RunPaused(PauseReason.BUDGET_REACHED.value)
    gate = effective_gate(step.spec, run.policy)
    return e.StepStarted(step.attempt + 1, gate.value, step=step.number)


def _approved(step: Step) -> e.Event:
    if step.gate is Gate.BOTH and not (step.prepared and step.prepared.effect_digest):
        return e.StepExecuting(step.attempt, step=step.number)
    return e.StepApplying(step.attempt, step.last_approval_id, step.approved_digest, step=step.number)


def _cancel(run: Run) -> e.Event | None:
    step = run.current
    if step is None:
        return e.RunCancelled()
    if step.state is StepState.AWAITING_APPROVAL and step.approval is not None:
        return e.ApprovalCancelled(step.approval.approval_id, step=step.number)
    published = step.prepared is not None and step.prepared.effect_digest
    if step.state is StepState.APPLYING and published:
        return None
    stopping = (step.number, step.attempt) in run.discards
    if stopping and step.spec.kind not in MODEL_KINDS:
        return None
    return e.StepCancelled(step=step.number)
