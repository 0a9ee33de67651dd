"""Plan documents to requests and back; single steps are converted by `interlock.common.plan.wire`."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.common import plan as doc
from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.wire import plan_step, policy_message, step_input, step_spec
from interlock.v1 import policy_pb2, step_pb2
from interlock.v1.orchestrator_pb2 import CreateRunRequest, OnBusy

__all__ = [
    "budget",
    "plan_from_specs",
    "plan_step",
    "run_request",
    "step_input",
    "step_spec",
    "step_specs",
]


def run_request(
    plan: doc.Plan, workspace_id: str, *, start: bool = False, wait_for_workspace: bool = False
) -> CreateRunRequest:
    """The request that makes a run of a plan; its `request_id` is still empty.

    With `start`, a workspace that another run has refuses the whole request, unless it is to be waited for.
    """
    return CreateRunRequest(
        goal=plan.goal,
        workspace_id=workspace_id,
        steps=step_specs(plan),
        policy=None if plan.policy is None else policy_message(plan.policy),
        budget=None if plan.budget is None else budget(plan.budget),
        labels=dict(plan.labels),
        start=start,
        on_busy=OnBusy.ON_BUSY_WAIT if wait_for_workspace else OnBusy.ON_BUSY_REFUSE,
    )


def step_specs(plan: doc.Plan) -> list[step_pb2.StepSpec]:
    """All steps of a plan."""
    return [step_spec(step) for step in plan.steps]


def budget(given: doc.PlanBudget) -> policy_pb2.Budget:
    """What a run may spend. No limit is 0 in the message, so a limit of nothing at all cannot be said."""
    if given.max_cost_micros == 0 or given.max_model_calls == 0:
        raise InterlockError(
            Reason.PLAN_INVALID,
            "A budget of zero cannot be kept: a run without a limit is written the same way.",
            field="budget",
            fix="Leave the budget out, or set it to at least 0.000001 dollars or one model call.",
        )
    return policy_pb2.Budget(
        max_cost_micros=given.max_cost_micros or 0, max_model_calls=given.max_model_calls or 0
    )


def plan_from_specs(goal: str, specs: Iterable[step_pb2.StepSpec]) -> doc.Plan:
    """The plan that steps make up, for writing it down with `interlock.common.plan.dump_yaml`."""
    return doc.Plan(goal=goal, steps=tuple(plan_step(spec) for spec in specs))
