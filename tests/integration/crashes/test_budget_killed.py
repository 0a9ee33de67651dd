"""An orchestrator is killed while a model answers: what it held back counts, once, and its run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.orchestrator.service.test_budgets import DOLLAR, PRICED, USAGE
from tests.integration.orchestrator.service.test_recorded_replies import planner_on
from tests.support.cluster import Cluster, Zygote, cluster
from tests.support.models import HANG, chat, scripted
from tests.support.orchestrator import TOKEN, analyze, create, executor_server, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.addresses import parse_address
from interlock.common.client import channel
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import orchestrator_pb2_grpc

ANSWER = 560


@asynccontextmanager
async def stub_of(them: Cluster) -> AsyncIterator[Any]:
    """The orchestrator that runs now, on a connection of its own."""
    async with channel(parse_address(them.address("orchestrator")), TOKEN) as opened:
        yield orchestrator_pb2_grpc.OrchestratorStub(opened)


async def counted(stub: Any) -> tuple[int, int]:
    """What of the budget is spent, and what is held back."""
    (known,) = (await stub.ListBudgets(o.ListBudgetsRequest())).budgets
    return known.spent_micros, known.reserved_micros


async def test_what_was_held_back_by_a_killed_orchestrator_is_counted_once(
    zygote: Zygote, place: Path, database_url: str
) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server, PRICED) as planner,
        cluster(
            zygote,
            place,
            database_url,
            INTERLOCK_PLANNER_ADDRESS=str(planner),
            INTERLOCK_EXECUTOR_ADDRESS=str(executor),
        ) as them,
    ):
        server.script(HANG, chat("An answer.", usage=USAGE))
        first = await them.start("orchestrator")
        async with stub_of(them) as stub:
            run = await create(stub, analyze("What is it?"), start=False)
            caller = {"scope": o.BUDGET_SCOPE_CALLER, "key": run.created_by}
            cap = o.SharedBudget(**caller, max_cost_micros=DOLLAR)
            await stub.SetBudget(o.SetBudgetRequest(budget=cap))
            await stub.StartRun(o.StartRunRequest(run_id=run.run_id))
            while not server.asked:  # noqa: ASYNC110 (it has held back, and asked)
                await asyncio.sleep(0.02)
            spent, lost = await counted(stub)
            assert spent == 0
            assert lost > ANSWER
        them.kill("orchestrator")
        while first.starts < 2 or first.ended < 0:  # noqa: ASYNC110 (it is started again)
            await asyncio.sleep(0.02)
        async with stub_of(them) as stub:
            done = await until(stub, run.run_id, "COMPLETED")
            assert done.cost.total.micros == ANSWER
            assert await counted(stub) == (ANSWER, lost)
            # Nobody knows what became of the call: it counts in full, also when nobody can settle it any more.
            second = await create(stub, analyze("What is it?"))
            await until(stub, second.run_id, "COMPLETED")
            assert await counted(stub) == (2 * ANSWER + lost, 0)
            report = await stub.GetCostReport(o.GetCostReportRequest(by=["caller"]))
            assert report.total.total.micros == 2 * ANSWER
        assert len(server.asked) == 3
