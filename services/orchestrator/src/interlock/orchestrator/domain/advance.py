"""What follows by itself from a state: the next step starts, an approved one goes on, a run ends.

`advance` is called after every decision, so that "step 3 succeeded" and "step 4 started" are one transaction.
"""

from __future__ import annotations

from interlock.common.errors import Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import Apply, Prepare, is_drafted, needs_model, step_action
from interlock.orchestrator.domain.asking import gate_of, has_rules
from interlock.orchestrator.domain.model import (
    Failure,
    Gate,
    PauseReason,
    Run,
    RunState,
    Step,
    StepState,
)


def advance(run: Run, policy: str = "") -> e.Event | None:
    """The next event that needs nobody, or None when the run waits for something or has ended.

    `policy` is the digest of the installation's policy; empty = it has none.
    """
    if run.cancelling:
        return _cancel(run)
    if run.state is not RunState.RUNNING:
        return None
    step = run.current
    if step is None:
        return _next_step(run, policy)
    return _approved(step) if step.state is StepState.APPROVED else None


def next_pending(run: Run) -> Step | None:
    """The step whose turn it is: the first PENDING one, but one that is tried again by itself keeps its turn."""
    steps, last = run.steps, run.step(run.cursor)
    if last is not None and last.state is StepState.PENDING and last.failures:
        return last
    for index in range(run.scan_from - 1, len(steps)):
        if steps[index].state is StepState.PENDING:
            return steps[index]
    return None


def budget_left(run: Run) -> bool:
    """Whether the run may make another model call, by what is known of the ones before."""
    limit, spent = run.budget, run.spent
    if limit.max_model_calls and spent.calls >= limit.max_model_calls:
        return False
    return not limit.max_cost_micros or (spent.cost_micros or 0) < limit.max_cost_micros


def lacks_budget(run: Run, step: Step | None) -> bool:
    """Whether the step would need a model call that the budget does not allow."""
    asks = step is not None and (needs_model(step) or is_drafted(step.spec))
    return asks and not budget_left(run)


def _next_step(run: Run, policy: str) -> e.Event:
    step = next_pending(run)
    if step is None:
        if run.steps_allowed == 0:
            return e.RunPaused(PauseReason.SINGLE_STEP.value)
        return _decide_more(run) if run.steps_at_a_time else e.RunCompleted()
    if run.steps_allowed == 0:
        return e.RunPaused(PauseReason.SINGLE_STEP.value)
    if lacks_budget(run, step):
        return e.RunPaused(PauseReason.BUDGET_REACHED.value)
    gate = gate_of(step.spec, run.policy)
    return e.StepStarted(step.attempt + 1, gate.value, has_rules(run, policy), step=step.number)


def _decide_more(run: Run) -> e.Event:
    """A run whose steps are decided a few at a time: the next ones, from the results so far."""
    left = run.most_steps - len(run.steps)
    if left <= 0:
        return e.RunPaused(PauseReason.STEP_LIMIT.value)
    if not budget_left(run):
        return e.RunPaused(PauseReason.BUDGET_REACHED.value)
    by = run.planned_for or run.created_by
    return e.PlanningStarted(max_steps=min(left, run.steps_at_a_time), by=by, going_on=True)


def _approved(step: Step) -> e.Event:
    # Where rules decide, what it does is looked at before it is published.
    looked_at = step.gate is Gate.BOTH or step.judge
    if looked_at and not (step.prepared and step.prepared.effect_digest):
        return e.StepExecuting(step.attempt, step=step.number)
    return e.StepApplying(step.attempt, step.last_approval_id, step.approved_digest, step=step.number)


def _cancel(run: Run) -> e.Event | None:
    step = run.current
    if step is None:
        return e.RunCancelled()
    if step.state is StepState.AWAITING_APPROVAL and step.approval is not None:
        return e.ApprovalCancelled(step.approval.approval_id, step=step.number)
    action = step_action(step)
    if isinstance(action, Apply):
        return None
    if not isinstance(action, Prepare):
        return e.StepCancelled(step=step.number)
    if (step.number, step.attempt) in run.discards:
        return None
    return _stopped(step)


def _stopped(step: Step) -> e.Event:
    """A command that had network and was stopped on its way may have acted outside: nothing guesses."""
    if not step.spec.input.get("network"):
        return e.StepCancelled(step=step.number)
    failure = Failure(
        Reason.OUTCOME_UNKNOWN.value,
        "The run was cancelled while this command was under way; what it did over the network is not known.",
        fix="Find out what the command did outside the workspace; nothing of it was published. Then `interlock step "
        "retry RUN STEP` or `interlock step skip RUN STEP`.",
    )
    return e.StepOutcomeUnknown(failure, step=step.number)
