"""Runs by how their ids begin."""

from __future__ import annotations

from tests.support.orchestrator import create, executor_server, orchestrator, read
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.v1 import orchestrator_pb2 as o


async def test_runs_whose_ids_begin_so(database_url: str) -> None:
    servicer = ScriptedExecutor(Script())
    async with executor_server(servicer) as address, orchestrator(database_url, address) as it:
        ids = [(await create(it.stub, read(), start=False)).run_id for _ in range(3)]

        async def found(prefix: str, **more: int) -> list[str]:
            request = o.ListRunsRequest(run_id_prefix=prefix, **more)  # type: ignore[arg-type]
            return [run.run_id for run in (await it.stub.ListRuns(request)).runs]

        assert await found(ids[1]) == [ids[1]]
        assert await found("run-") == await found("") == sorted(ids, reverse=True)
        assert await found("run-", page_size=2) == sorted(ids, reverse=True)[:2]
        assert await found("run-zzzz") == []
