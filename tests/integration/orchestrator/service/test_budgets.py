"""A model is asked only for what the budgets allow: the run holds, and goes on when it may spend more."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.orchestrator.service.test_recorded_replies import analyze, planner_on
from tests.support.models import ScriptedServer, chat, scripted
from tests.support.orchestrator import create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import policy_pb2

PRICED = "gpt-4.1-mini"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
DOLLAR = 1_000_000


async def reached(stub: Any, run_id: str) -> dict[str, Any]:
    events = (await stub.ListEvents(o.ListEventsRequest(run_id=run_id, page_size=1000))).events
    found = [each for each in events if each.type == "run.budget_reached"]
    return json.loads(found[-1].canonical_json)["data"]  # type: ignore[no-any-return]


def answering(server: ScriptedServer) -> None:
    server.script(chat("An answer.", usage=USAGE))


async def test_a_run_holds_at_its_budget_and_goes_on_when_it_is_raised(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server, PRICED) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        answering(server)
        small = policy_pb2.Budget(max_cost_micros=10)
        run = await create(it.stub, analyze("What is it?"), budget=small)
        held = await until(it.stub, run.run_id, "PAUSED")
        assert held.pause_reason == "budget_reached"
        assert server.asked == []
        told = await reached(it.stub, run.run_id)
        assert (told["scope"], told["key"], told["limit_micros"]) == ("run", run.run_id, 10)
        assert told["needed_micros"] > 10
        more = o.SetRunBudgetRequest(run_id=run.run_id, budget=policy_pb2.Budget(max_cost_micros=DOLLAR))
        await it.stub.SetRunBudget(more)
        done = await until(it.stub, run.run_id, "COMPLETED")
        # 1,000 tokens at 0.4 and 100 at 1.6 dollars a million
        assert done.cost.total.micros == 560
        (model,) = (await it.stub.GetCost(o.GetCostRequest(run_id=run.run_id))).models
        assert (model.purpose, model.cost.total.micros) == ("analyze", 560)
        report = await it.stub.GetCostReport(o.GetCostReportRequest(by=["workspace", "caller", "purpose"]))
        (group,) = report.groups
        assert list(group.values) == [run.workspace_id, run.created_by, "analyze"]
        assert (group.cost.total.micros, report.total.total.micros, group.questions) == (560, 560, 1)


async def test_a_shared_budget_holds_and_raising_it_resumes(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server, PRICED) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        answering(server)
        cap = o.SharedBudget(scope=o.BUDGET_SCOPE_WORKSPACE, key="ws-shared", max_cost_micros=0)
        await it.stub.SetBudget(o.SetBudgetRequest(budget=cap))
        run = await create(it.stub, analyze("What is it?"), workspace_id="ws-shared")
        await until(it.stub, run.run_id, "PAUSED")
        assert server.asked == []
        cap.max_cost_micros = DOLLAR
        resumed = await it.stub.SetBudget(o.SetBudgetRequest(budget=cap))
        assert list(resumed.resumed_run_ids) == [run.run_id]
        await until(it.stub, run.run_id, "COMPLETED")
        (known,) = (await it.stub.ListBudgets(o.ListBudgetsRequest())).budgets
        assert (known.spent_micros, known.reserved_micros) == (560, 0)


async def test_a_model_without_a_known_price_needs_an_allowance(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server, "nobody-knows-me") as at,
        orchestrator(database_url, executor, at) as it,
    ):
        server.script(chat("An answer."))
        budget = policy_pb2.Budget(max_cost_micros=DOLLAR)
        run = await create(it.stub, analyze("What is it?"), analyze("And why?"), budget=budget)
        await until(it.stub, run.run_id, "PAUSED")
        assert (await reached(it.stub, run.run_id))["unpriced_model"] == "nobody-knows-me"
        assert server.asked == []
        budget.unpriced_call_micros = 600_000
        await it.stub.SetRunBudget(o.SetRunBudgetRequest(run_id=run.run_id, budget=budget))
        held = await until(it.stub, run.run_id, "PAUSED")
        while not held.steps_done:  # it may be seen before it went on
            held = await until(it.stub, run.run_id, "PAUSED")
        assert len(server.asked) == 1  # the second one would make 1.2 dollars
        assert (await reached(it.stub, run.run_id))["needed_micros"] == 600_000
