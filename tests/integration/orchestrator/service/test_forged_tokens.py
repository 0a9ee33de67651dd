from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.forging import forged, never_internal
from tests.support.orchestrator import Running, create, executor_server, orchestrator, read
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.client import rpc_errors
from interlock.common.errors import Reason
from interlock.v1 import orchestrator_pb2 as o

PAGE, CURSOR = b"page", b"cursor"
APPROVALS = "ListApprovalRecords/['pending']/"


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as started,
    ):
        yield started


async def ask(stub: Any, method: str, request: Any) -> None:
    with rpc_errors("orchestrator"):
        answer = getattr(stub, method)(request)
        if method.startswith("Watch"):
            await anext(answer.__aiter__())
            answer.cancel()
        else:
            await answer


@pytest.mark.parametrize("method", ["ListRuns", "ListSteps", "ListEvents", "ListApprovalRecords"])
async def test_page_tokens(method: str, running: Running) -> None:
    run = await create(running.stub, read(), start=False)
    scope = {
        "ListRuns": "ListRuns/[]//[]",
        "ListSteps": f"ListSteps/{run.run_id}",
        "ListEvents": f"ListEvents/{run.run_id}",
        "ListApprovalRecords": APPROVALS,
    }[method]
    of_run = {"run_id": run.run_id} if method in ("ListSteps", "ListEvents") else {}

    async def with_token(body: bytes) -> None:
        request = getattr(o, f"{method}Request")(page_token=forged(PAGE, scope, body), **of_run)
        await ask(running.stub, method, request)

    assert {"taken", "PAGE_TOKEN_INVALID"} <= await never_internal(with_token, Reason.PAGE_TOKEN_INVALID)


@pytest.mark.parametrize("method", ["WatchRun", "WatchApprovals"])
async def test_cursors(method: str, running: Running) -> None:
    run = await create(running.stub, read(), start=False)
    scope = f"WatchRun/{run.run_id}" if method == "WatchRun" else "WatchApprovals"
    of_run = {"run_id": run.run_id} if method == "WatchRun" else {}

    async def with_cursor(body: bytes) -> None:
        request = getattr(o, f"{method}Request")(cursor=forged(CURSOR, scope, body), **of_run)
        await ask(running.stub, method, request)

    assert {"taken", "CURSOR_INVALID"} <= await never_internal(with_cursor, Reason.CURSOR_INVALID)
