"""Plans of the facade, and what a run cost."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.rest import convert, runs
from interlock.gateway.rest.services import Services
from interlock.v1 import agent_run_pb2 as pb
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2


async def plan(services: Services, request: pb.CreateAgentPlanRequest) -> pb.CreateAgentPlanResponse:
    """The steps towards a goal; added to the run where that is asked for."""
    if request.auto_add_steps:
        return await _added(services, request)
    asked = planner_pb2.PlanRequest(
        goal=request.goal,
        files=[planner_pb2.ContextFile(path=path) for path in request.workspace_files],
        additional_context=request.additional_context,
    )
    made = await services.call(services.planner.Plan, asked)
    return pb.CreateAgentPlanResponse(steps=[convert.plan_step(step) for step in made.steps])


async def _added(services: Services, request: pb.CreateAgentPlanRequest) -> pb.CreateAgentPlanResponse:
    """The orchestrator asks the planner itself, so that the call is journaled and counts against the run's budget."""
    if not request.run_id:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "There is no run to add the steps to.",
            field="run_id",
            fix="Name the run.",
        )
    before = await runs.get(services, request.run_id)
    context = [request.goal] if request.goal != before.goal else []
    asked = o.PlanRunRequest(
        run_id=request.run_id, additional_context="\n\n".join([*context, request.additional_context]).strip()
    )
    await services.call(services.orchestrator.PlanRun, asked)
    after = await runs.get(services, request.run_id)
    added = [step.spec for step in after.steps[len(before.steps) :]]
    return pb.CreateAgentPlanResponse(steps=[convert.plan_step(step) for step in added], run_id=after.run_id)


async def cost(services: Services, run_id: str) -> pb.GetAgentRunCostResponse:
    """What a run cost, in dollars and tokens."""
    found = await services.call(services.orchestrator.GetCost, o.GetCostRequest(run_id=run_id))
    return pb.GetAgentRunCostResponse(
        total_cost=convert.dollars(found.total),
        total_tokens=convert.tokens(found.total),
        steps=[convert.step_cost(each.step, each.kind, each.cost) for each in found.steps],
        unpriced_calls=found.total.unpriced_calls,
    )
