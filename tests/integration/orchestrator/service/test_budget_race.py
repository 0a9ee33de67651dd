"""Twenty runs on two orchestrators under one cap: together they never spend more, and whoever is at it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.integration.orchestrator.service.test_budgets import DOLLAR, PRICED, USAGE, reached
from tests.integration.orchestrator.service.test_recorded_replies import planner_on
from tests.support.models import chat, scripted
from tests.support.orchestrator import analyze, create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2

RUNS, FIT = 20, 3
ANSWERS = 3
"""How many answers a question may take: what is held back for it is for as many calls."""


async def in_state(
    stub: Any, ids: list[str], state: run_pb2.RunState, wanted: Callable[[int], bool]
) -> list[str]:
    """The runs that are in the state, once there are as many as are wanted."""
    async with asyncio.timeout(60):
        while True:
            runs = [(await stub.GetRun(o.GetRunRequest(run_id=each))).run for each in ids]
            found = [run.run_id for run in runs if run.state == state]
            if wanted(len(found)):
                return found
            await asyncio.sleep(0.05)


async def test_twenty_runs_under_one_cap_never_spend_more(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server, PRICED) as at,
        orchestrator(database_url, executor, at) as one,
        orchestrator(database_url, executor, at) as other,
    ):
        answer = chat("An answer.", usage=USAGE)
        server.script(type(answer)(answer.status, answer.body, answer.headers, "pause"))
        cap = o.SharedBudget(scope=o.BUDGET_SCOPE_CALLER, key="*", max_cost_micros=0)
        await one.stub.SetBudget(o.SetBudgetRequest(budget=cap))
        made = await asyncio.gather(
            *(create((one if n % 2 else other).stub, analyze("What is it?")) for n in range(RUNS))
        )
        ids = [run.run_id for run in made]
        await asyncio.gather(*(until(one.stub, each, "PAUSED") for each in ids))
        assert server.asked == []
        needed = (await reached(one.stub, ids[0]))["needed_micros"]

        cap.key, cap.max_cost_micros = made[0].created_by, FIT * ANSWERS * needed + needed // 2
        resumed = await one.stub.SetBudget(o.SetBudgetRequest(budget=cap))
        assert sorted(resumed.resumed_run_ids) == sorted(ids)
        paused = run_pb2.RUN_STATE_PAUSED
        await in_state(one.stub, ids, paused, lambda count: count <= RUNS - FIT)
        held = await in_state(one.stub, ids, paused, lambda count: count == RUNS - FIT)
        while len(server.asked) < FIT:  # noqa: ASYNC110 (their questions are on the way)
            await asyncio.sleep(0.02)
        _, known = (await one.stub.ListBudgets(o.ListBudgetsRequest())).budgets
        assert (known.spent_micros, known.reserved_micros) == (0, FIT * ANSWERS * needed)
        for each in held:
            told = await reached(other.stub, each)
            assert (told["scope"], told["limit_micros"]) == ("caller", cap.max_cost_micros)
        server.release()
        going = [each for each in ids if each not in held]
        await asyncio.gather(*(until(one.stub, each, "COMPLETED") for each in going))
        assert len(server.asked) == FIT

        cap.max_cost_micros = DOLLAR
        resumed = await other.stub.SetBudget(o.SetBudgetRequest(budget=cap))
        assert sorted(resumed.resumed_run_ids) == sorted(held)
        await asyncio.gather(*(until(one.stub, each, "COMPLETED") for each in ids))
        _, known = (await one.stub.ListBudgets(o.ListBudgetsRequest())).budgets
        assert (known.spent_micros, known.reserved_micros) == (RUNS * 560, 0)
        assert len(server.asked) == RUNS
