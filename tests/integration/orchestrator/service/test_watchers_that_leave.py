"""A client of WatchRun that reads nothing and goes away leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.orchestrator import create, executor_server, orchestrator, read
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.orchestrator.queries import watch
from interlock.v1 import orchestrator_pb2 as o


async def test_what_it_was_to_be_told_is_dropped(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_QUEUE", 1)
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as running,
    ):
        run = await create(running.stub, read(), start=False)
        for _ in range(4):
            await running.stub.AddSteps(o.AddStepsRequest(run_id=run.run_id, steps=[read()]))
        watcher = watch._Watcher(running.deps, None, run.run_id, with_output=False)
        stream = watcher.stream()
        await anext(stream)
        while not watcher._queue.full():  # noqa: ASYNC110 (another task fills it)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            await stream.aclose()
        assert not [task for task in asyncio.all_tasks() if "_follow_to_the_end" in repr(task.get_coro())]
