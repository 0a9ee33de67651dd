"""PlanRun: asks the planner and waits for the plan."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.events import PlanningFailed, RunFailed
from interlock.orchestrator.domain.model import Failure
from interlock.orchestrator.runs.waiting import wait_until
from interlock.v1 import orchestrator_pb2 as o


async def plan_run(deps: Deps, message: o.PlanRunRequest) -> o.PlanRunResponse:
    """Adds the planner's steps to the run. A repeated request waits for the same plan."""
    outcome = await change(
        deps,
        message,
        message.run_id,
        lambda run, ctx: decide_run.plan(
            run, ctx, additional_context=message.additional_context, max_steps=message.max_steps
        ),
        lambda run: o.PlanRunResponse(run=views.run(run)),
    )
    run = outcome.run if outcome.replayed is None else await deps.book.refresh(message.run_id)
    run, events = await wait_until(deps.feed, deps.book, run, lambda r: r.planning is None)
    for record in events:
        if isinstance(record.event, PlanningFailed | RunFailed):
            raise as_error(record.event.failure)
    return o.PlanRunResponse(run=views.run(run))


def as_error(failure: Failure) -> InterlockError:
    """A journaled failure as the error of a call."""
    return InterlockError(
        Reason(failure.reason),
        failure.message,
        field=failure.field,
        fix=failure.fix,
        metadata={key: str(value) for key, value in failure.metadata.items()},
    )
