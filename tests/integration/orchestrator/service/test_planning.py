"""What the planner is shown, what becomes of its answers, and runs that it decides on as they go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from tests.support.orchestrator import (
    Running,
    command,
    create,
    executor_server,
    orchestrator,
    planner_server,
    read,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.client import error_from_rpc
from interlock.common.policy.document import parse_policy
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import planner_pb2, planner_pb2_grpc, policy_pb2, run_pb2, step_pb2

POLICY = parse_policy("""
name: guard
rules:
  - {name: no-push, effect: deny, when: 'step.command.contains("push")', reason: nothing leaves this machine}
  - {name: rest, effect: allow, when: "true"}
""")
FAILED = step_pb2.StepFailure(reason="COMMAND_FAILED", message="exit code 1")


class ScriptedPlanner(planner_pb2_grpc.PlannerServicer):
    """Keeps what it was asked; gives the answers that it was told, in order."""

    def __init__(self, *answers: list[step_pb2.StepSpec]) -> None:
        self.asked: list[Any] = []
        self._answers = list(answers)

    def _next(self, request: Any) -> dict[str, Any]:
        self.asked.append(request)
        call = step_pb2.ModelCall(purpose="plan", gateway="g", model="m", prompt_version="plan/v2")
        call.cost.total.micros = 40
        exchange = planner_pb2.ModelExchange(call=call, prompt=b"p", reply=b"r")
        return {"steps": self._answers.pop(0), "exchanges": [exchange]}

    async def Plan(self, request: planner_pb2.PlanRequest, context: Any) -> planner_pb2.PlanResponse:
        return planner_pb2.PlanResponse(**self._next(request))

    async def Replan(self, request: planner_pb2.ReplanRequest, context: Any) -> planner_pb2.ReplanResponse:
        return planner_pb2.ReplanResponse(**self._next(request))


@asynccontextmanager
async def world(database_url: str, planner: ScriptedPlanner, script: Script) -> AsyncIterator[Running]:
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        planner_server(planner) as at,
        orchestrator(database_url, executor, at, policy=POLICY) as it,
    ):
        yield it


def states(run: run_pb2.Run) -> list[str]:
    return [step_pb2.StepState.Name(s.state).removeprefix("STEP_STATE_") for s in run.steps]


async def planned(it: Running, run_id: str) -> run_pb2.Run:
    return (await it.stub.PlanRun(o.PlanRunRequest(run_id=run_id))).run  # type: ignore[no-any-return]


async def test_what_the_policy_denies_goes_back_with_its_reason(database_url: str) -> None:
    planner = ScriptedPlanner([read(), command("git push")], [read()])
    async with world(database_url, planner, Script()) as it:
        run = await create(it.stub, budget=policy_pb2.Budget(max_cost_micros=1_000, max_model_calls=9))
        run = await planned(it, run.run_id)
    first, second = planner.asked
    assert (list(first.problems), first.goal) == ([], "test")
    assert [(f.path, f.size, f.content) for f in first.files] == [("a.txt", 3, "abc")]
    assert (first.limits.model_calls, first.limits.cost_micros, first.limits.call_micros) == (8, 1_000, 0)
    assert list(second.problems) == [
        "steps[1] (run_command) is denied by the policy: no-push: nothing leaves this machine"
    ]
    assert (run.steps_total, run.cost.model_calls, run.cost.total.micros) == (1, 2, 80)


async def test_a_model_that_goes_on_planning_what_is_denied_gets_an_error_and_is_paid(
    database_url: str,
) -> None:
    planner = ScriptedPlanner(*[[command("git push")] for _ in range(3)])
    async with world(database_url, planner, Script()) as it:
        run = await create(it.stub)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await planned(it, run.run_id)
        error = error_from_rpc(caught.value, "orchestrator")
        after = (await it.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
    assert (error.reason.value, error.field) == ("PLAN_INVALID", "steps")
    assert "no-push" in error.message
    assert run_pb2.RunState.Name(after.state) == "RUN_STATE_CREATED"
    assert (after.cost.model_calls, after.cost.total.micros) == (3, 120)


async def test_a_failed_run_is_planned_again_on_request(database_url: str) -> None:
    planner = ScriptedPlanner([command("other")])
    async with world(database_url, planner, Script(failures={1: FAILED})) as it:
        run = await create(it.stub, command("bad"), read())
        await until(it.stub, run.run_id, "FAILED")
        request = o.ReplanRunRequest(run_id=run.run_id, comment="try the other", request_id="once")
        await it.stub.ReplanRun(request)
        assert (await it.stub.ReplanRun(request)).run.steps_total == 3
        again = (await it.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
        assert (states(again), again.pause_reason) == (["FAILED", "SKIPPED", "PENDING"], "planned_again")
        await it.stub.ResumeRun(o.ResumeRunRequest(run_id=run.run_id))
        done = await until(it.stub, run.run_id, "COMPLETED")
    assert states(done) == ["FAILED", "SKIPPED", "SUCCEEDED"]
    (asked,) = planner.asked
    assert (asked.feedback, [each.key for each in asked.results]) == ("try the other", ["step-1"])


async def test_the_model_decides_a_step_at_a_time_from_the_results(database_url: str) -> None:
    planner = ScriptedPlanner([read()], [command("bad")], [read()], [])
    async with world(database_url, planner, Script(failures={2: FAILED})) as it:
        run = await create(it.stub, steps_at_a_time=1)
        run = await planned(it, run.run_id)
        assert run.steps_total == 1
        await it.stub.StartRun(o.StartRunRequest(run_id=run.run_id))
        done = await until(it.stub, run.run_id, "COMPLETED", "PAUSED", "FAILED")
    assert (states(done), done.steps_at_a_time, done.max_steps) == (
        ["SUCCEEDED", "FAILED", "SUCCEEDED"],
        1,
        50,
    )
    assert [(asked.going_on, asked.max_steps, asked.feedback) for asked in planner.asked] == [
        (True, 1, "")
    ] * 4
    assert [len(asked.results) for asked in planner.asked] == [0, 1, 2, 3]
    assert planner.asked[2].results[1].state == step_pb2.STEP_STATE_FAILED
    assert done.cost.model_calls == 4
