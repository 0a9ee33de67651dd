"""PlanRun and ReplanRun: ask the planner and wait for the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_plan, decide_run
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.events import Event, PlanningFailed, RunFailed
from interlock.orchestrator.domain.model import Failure, Run
from interlock.orchestrator.runs.waiting import wait_until
from interlock.v1 import orchestrator_pb2 as o

Response = TypeVar("Response", o.PlanRunResponse, o.ReplanRunResponse)


async def plan_run(deps: Deps, message: o.PlanRunRequest) -> o.PlanRunResponse:
    """Adds the planner's steps to the run. A repeated request waits for the same plan."""

    def decide(run: Run, ctx: Context) -> list[Event]:
        return decide_run.plan(
            run, ctx, additional_context=message.additional_context, max_steps=message.max_steps
        )

    return await _planned(deps, message, decide, o.PlanRunResponse)


async def replan_run(deps: Deps, message: o.ReplanRunRequest) -> o.ReplanRunResponse:
    """Has the rest of the run planned again. A repeated request waits for the same plan."""

    def decide(run: Run, ctx: Context) -> list[Event]:
        return decide_plan.replan(run, ctx, comment=message.comment, max_steps=message.max_steps)

    return await _planned(deps, message, decide, o.ReplanRunResponse)


async def _planned(
    deps: Deps,
    message: Any,
    decide: Callable[[Run, Context], list[Event]],
    response: type[Response],
) -> Response:
    outcome = await change(deps, message, message.run_id, decide, lambda run: response(run=views.run(run)))
    run = outcome.run if outcome.replayed is None else await deps.book.refresh(message.run_id)
    run, events = await wait_until(deps.feed, deps.book, run, lambda r: r.planning is None)
    for record in events:
        if isinstance(record.event, PlanningFailed | RunFailed):
            raise as_error(record.event.failure)
    return response(run=views.run(await deps.book.refresh(message.run_id)))


def as_error(failure: Failure) -> InterlockError:
    """A journaled failure as the error of a call."""
    return InterlockError(
        Reason(failure.reason),
        failure.message,
        field=failure.field,
        fix=failure.fix,
        metadata={key: str(value) for key, value in failure.metadata.items()},
    )
