"""Budgets of runs: a run that a model was not asked for holds, and goes on when it may spend more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.actions import StepAction, wants
from interlock.orchestrator.domain.advance import budget_left, lacks_budget, next_pending
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.decide_run import OPEN, check_budget
from interlock.orchestrator.domain.model import (
    Budget,
    Failure,
    ModelCall,
    PauseReason,
    Planning,
    Run,
    RunState,
)
from interlock.orchestrator.domain.refuse import require_run


def budget_held(
    run: Run,
    ctx: Context,
    reached: e.BudgetReached,
    failure: Failure,
    calls: Sequence[ModelCall] = (),
    *,
    attempt: int = 0,
    planning: Planning | None = None,
) -> list[e.Event]:
    """A model was not asked for want of budget: the run holds. A run without a plan is as it was before it asked."""
    called: list[e.Event] = [e.ModelCalled(call, step=reached.step) for call in calls]
    if run.cancelling:
        return called
    if reached.step:
        return [*called, reached] if wants(run, reached.step, attempt, StepAction) else called
    if run.planning is None or planning not in (None, run.planning):
        return called
    goes_on = run.planning.again and run.planning.then != "planned"
    return [*called, reached] if goes_on else [*called, e.PlanningFailed(failure)]


def set_budget(run: Run, ctx: Context, budget: Budget) -> list[e.Event]:
    """Gives the run another budget; where it stands still for want of one, it goes on if the new one allows it."""
    require_run(run, OPEN, "set its budget")
    check_budget(budget)
    changed: list[e.Event] = [e.BudgetSet(budget, ctx.subject)] if budget != run.budget else []
    return [*changed, *go_on(replace(run, budget=budget), ctx)]


def go_on(run: Run, ctx: Context) -> list[e.Event]:
    """A run that stands still for want of budget goes on, where its own budget allows it."""
    waits = run.state is RunState.PAUSED and run.pause_reason == PauseReason.BUDGET_REACHED
    if not waits or (run.current is None and lacks_budget(run, next_pending(run))):
        return []
    if run.planning is not None and not budget_left(run):
        return []
    return [e.RunResumed(ctx.subject, single_step=run.steps_allowed is not None)]
