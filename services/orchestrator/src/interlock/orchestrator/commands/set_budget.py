"""SetRunBudget and SetBudget; what stands still for want of budget goes on where the new one allows it."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.commands.mutate import mutate
from interlock.orchestrator.convert import inputs, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_budget
from interlock.orchestrator.domain.model import PauseReason
from interlock.orchestrator.store import spending
from interlock.v1 import orchestrator_pb2 as o

SCOPES = {o.BUDGET_SCOPE_WORKSPACE: "workspace", o.BUDGET_SCOPE_CALLER: "caller"}


async def set_run_budget(deps: Deps, message: o.SetRunBudgetRequest) -> o.SetRunBudgetResponse:
    """Gives an open run another budget."""
    budget = inputs.budget(message.budget)
    return await mutate(
        deps,
        message,
        lambda run, ctx: decide_budget.set_budget(run, ctx, budget),
        lambda run: o.SetRunBudgetResponse(run=views.run(run)),
    )


async def set_budget(deps: Deps, message: o.SetBudgetRequest) -> o.SetBudgetResponse:
    """Sets or removes what runs may spend together."""
    given, by = message.budget, current_identity().subject
    scope = SCOPES[given.scope]
    if message.remove:
        await spending.remove_budget(deps.database, scope, given.key)
    else:
        most, each = given.max_cost_micros, given.unpriced_call_micros
        await spending.set_budget(deps.database, scope, given.key, most=most, each=each, by=by)
    workspace = given.key if scope == "workspace" and given.key != spending.EACH else ""
    resumed = []
    for run_id in await spending.paused(deps.database, workspace):
        run = await deps.book.refresh(run_id)
        theirs = scope != "caller" or given.key in (spending.EACH, run.created_by)
        if theirs and run.pause_reason == PauseReason.BUDGET_REACHED and await _resumed(deps, run_id, by):
            resumed.append(run_id)
    return o.SetBudgetResponse(resumed_run_ids=resumed)


async def _resumed(deps: Deps, run_id: str, by: str) -> bool:
    """Whether it goes on; it holds again by itself where the budget still does not allow what it asks."""
    before = await deps.book.get(run_id)
    try:
        outcome = await deps.transactions.change(run_id, decide_budget.go_on, subject=by)
    except InterlockError as error:
        if error.reason in (Reason.RUN_WRONG_STATE, Reason.RUN_CONFLICT):
            return False
        raise
    return outcome.run.seq > before.seq
