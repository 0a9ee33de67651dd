"""Plans: what the planner is shown and told, and whether the policy takes what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.common.policy.model import Verdict
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.convert import inputs, results, texts, views
from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.model import (
    STEP_FINAL,
    OnFailure,
    Planning,
    RuleEffect,
    Run,
    Step,
    StepSpec,
    StepState,
)
from interlock.orchestrator.domain.people import PLANNER
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.store.records import Payload
from interlock.orchestrator.worker import context
from interlock.orchestrator.worker.asking import Asking, QuestionFailedError
from interlock.orchestrator.worker.done import Done
from interlock.v1 import planner_pb2

ROUNDS: Final = 3
"""Plans asked for before one that the policy denies is an error."""

_SHOWN: Final = 300


class PlanAsking:
    """Performs the action that asks for steps."""

    def __init__(self, asking: Asking, executor: Executors, payloads: Payloads, policies: Policies) -> None:
        self._asking = asking
        self._executor = executor
        self._payloads = payloads
        self._policies = policies

    async def plan(self, run: Run, action: a.AskPlan, epoch: int) -> Done:
        """Asks for steps towards the goal, or for others in place of those that did not run.

        What the policy denies goes back with its reasons, at most `ROUNDS` times in all.
        """
        asked, made, denied = action.planning, list[planner_pb2.ModelExchange](), list[str]()
        files = await context.files(self._executor, run.workspace_id, run.goal)
        for _ in range(ROUNDS):
            try:
                response = await self._asked(run, asked, files, denied)
            except InterlockError as error:
                if not made:
                    raise
                return _failed(asked, made, error)
            made += response.exchanges
            specs, long_texts = inputs.specs(response.steps)
            denied = self._denied(run, specs, long_texts)
            if not denied:
                return _planned(asked, made, specs, long_texts)
        return _failed(asked, made, _denied_error(denied))

    async def _asked(
        self, run: Run, asked: Planning, files: list[planner_pb2.ContextFile], denied: list[str]
    ) -> Any:
        told: dict[str, Any] = {
            "goal": run.goal,
            "files": files,
            "max_steps": asked.max_steps,
            "policy": views.policy(run.policy),
            "limits": _limits(run),
            "problems": denied,
        }
        if not asked.again:
            request = planner_pb2.PlanRequest(additional_context=asked.additional_context, **told)
            return await self._asking.call(self._asking.stub.Plan, request, run, 0)
        ended = any(step.state in STEP_FINAL for step in run.steps)
        again = planner_pb2.ReplanRequest(
            results=await context.results(self._payloads, run, len(run.steps) + 1, []) if ended else [],
            remaining=[views.spec(s.spec, {}) for s in run.steps if s.state is StepState.PENDING],
            feedback=asked.feedback,
            going_on=asked.going_on,
            **told,
        )
        return await self._asking.call(self._asking.stub.Replan, again, run, 0)

    def _denied(self, run: Run, specs: Sequence[StepSpec], long_texts: Sequence[Payload]) -> list[str]:
        """What the rules in force would refuse before it runs, a line each."""
        bodies = {"sha256:" + each.digest.hex(): each.body for each in long_texts}
        found = []
        for index, spec in enumerate(specs):
            step = Step(len(run.steps) + index + 1, spec, authors=(PLANNER,))
            ruling, _ = self._policies.rule(run, step, texts.inline(spec.input, bodies))
            if ruling.verdict.value == Verdict.DENY.value:
                hits = [hit for hit in ruling.rules if hit.effect is RuleEffect.DENY]
                rules = "; ".join(f"{hit.rule}: {hit.reason}" if hit.reason else hit.rule for hit in hits)
                found.append(f"steps[{index}] ({spec.kind.value}) is denied by the policy: {rules}"[:2000])
        return found[:50]


def _planned(
    asked: Planning,
    made: Sequence[planner_pb2.ModelExchange],
    specs: Sequence[StepSpec],
    long_texts: Sequence[Payload],
) -> Done:
    calls, payloads = results.calls(made)
    if asked.going_on:
        # The next steps are decided from whatever came of these, a failure too.
        specs = [replace(each, on_failure=OnFailure.CONTINUE) for each in specs]
    return Done(
        lambda run, ctx: decide_run.planned(run, ctx, specs, calls, planning=asked), [*payloads, *long_texts]
    )


def _failed(asked: Planning, made: Sequence[planner_pb2.ModelExchange], error: InterlockError) -> Done:
    """There is no plan; what was asked before is recorded all the same."""
    calls, payloads = results.calls(made)
    more, kept = results.failed_calls(error.metadata)
    if isinstance(error, QuestionFailedError):
        more, kept = error.calls, error.payloads
    failure = decide_run.failure_of(error)
    return Done(
        lambda run, ctx: decide_run.planning_failed(run, ctx, failure, [*calls, *more], planning=asked),
        [*payloads, *kept],
    )


def _denied_error(denied: Sequence[str]) -> InterlockError:
    return InterlockError(
        Reason.PLAN_INVALID,
        f"The model was asked {ROUNDS} times and planned what the policy denies: {denied[0][:_SHOWN]}",
        field="steps",
        fix="Say in the goal what is not to be done, or give a plan of your own with `interlock step add`.",
        metadata={"problems": "\n".join(denied)[:2000]},
    )


def _limits(run: Run) -> planner_pb2.PlanningLimits:
    """What is left of the budget after the call that asks for the plan."""
    limit, spent = run.budget, run.spent
    out = planner_pb2.PlanningLimits()
    if limit.max_model_calls:
        out.model_calls = max(0, min(limit.max_model_calls - spent.calls - 1, 2**31 - 1))
    if limit.max_cost_micros:
        out.cost_micros = max(0, limit.max_cost_micros - (spent.cost_micros or 0))
    priced = spent.calls - spent.unpriced
    if priced and spent.cost_micros:
        out.call_micros = -(-spent.cost_micros // priced)
    return out
