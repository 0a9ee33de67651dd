"""ExecuteNextStep: one step, then a pause."""

from __future__ import annotations

from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.advance import next_pending
from interlock.orchestrator.domain.model import RUN_FINAL, Run, RunState, StepState
from interlock.orchestrator.queries.runs import step_view
from interlock.orchestrator.runs.waiting import wait_until
from interlock.v1 import orchestrator_pb2 as o

_RESTS = RUN_FINAL | {RunState.PAUSED, RunState.AWAITING_APPROVAL}


async def execute_next(deps: Deps, message: o.ExecuteNextStepRequest) -> o.ExecuteNextStepResponse:
    """Returns when the step has ended or waits for a decision."""
    outcome = await change(
        deps, message, message.run_id, decide_run.execute_next, lambda run: o.ExecuteNextStepResponse()
    )
    run = outcome.run if outcome.replayed is None else await deps.book.refresh(message.run_id)
    started = run.cursor
    run, _ = await wait_until(deps.feed, deps.book, run, lambda r: r.state in _RESTS)
    response = o.ExecuteNextStepResponse(run=views.run(run), all_complete=_all_ended(run))
    step = run.step(run.cursor if run.cursor else started)
    if step is not None:
        response.step.CopyFrom(await step_view(deps, run, step))
        response.awaiting_approval = step.state is StepState.AWAITING_APPROVAL
    return response


def _all_ended(run: Run) -> bool:
    return run.current is None and next_pending(run) is None
