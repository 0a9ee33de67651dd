"""Replies of models reach those who watch while the model still speaks; the journal has the whole, once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.integration.orchestrator.service.test_recorded_replies import analyze, journal, planner_on
from tests.support.models import scripted, streamed
from tests.support.orchestrator import create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import step_pb2

USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "cost": 0.002}
WORDS = [f"word{number} " for number in range(40)]


async def test_a_reply_is_watched_while_it_comes_and_journaled_once(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        server.script(streamed(*WORDS, usage=USAGE, fault="pause"))
        run = await create(it.stub, analyze("What is it?"))
        watching = it.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id), timeout=60)
        heard, told = b"", list[Any]()
        async for message in watching:
            if message.WhichOneof("update") == "output":
                chunk = message.output
                assert chunk.stream == step_pb2.OUTPUT_STREAM_REPLY
                assert (chunk.run_id, chunk.step, chunk.attempt) == (run.run_id, 1, 1)
                assert chunk.offset == len(heard)
                heard += chunk.data
                if not server._released.is_set():  # the server itself waits: the model is not done
                    assert heard
                    assert len(heard) < len("".join(WORDS))
                    assert "step.succeeded" not in told
                    server.release()
            elif message.HasField("event"):
                told.append(message.event.type)
        assert heard.decode() == "".join(WORDS)
        assert told.index("step.succeeded") < told.index("run.completed")

        final = await until(it.stub, run.run_id, "COMPLETED")
        events = await journal(it.stub, run.run_id)
        assert sum("word7" in json.dumps(data) for _, data in events) == 0  # payloads have it, whole
        shown = (await it.stub.GetRun(o.GetRunRequest(run_id=run.run_id))).run
        assert final is not None
        assert shown.cost.total.micros == 2000
        body = server.asked[0].json
        assert body["stream"] is True
        assert body["stream_options"] == {"include_usage": True}

        # Replayed, it needs no server, tells nothing live, and has the same journal.
        again = await create(it.stub, analyze("What is it?"), replay_from=run.run_id)
        await until(it.stub, again.run_id, "COMPLETED")
        assert await journal(it.stub, again.run_id) == events
        assert len(server.asked) == 1


async def test_who_leaves_output_out_hears_nothing_of_it(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        server.script(streamed(*WORDS, fault="pause"))
        run = await create(it.stub, analyze("What is it?"))
        request = o.WatchRunRequest(run_id=run.run_id, without_output=True)

        async def kinds() -> set[str | None]:
            return {message.WhichOneof("update") async for message in it.stub.WatchRun(request, timeout=60)}

        quiet = asyncio.create_task(kinds())
        while not server.asked:  # noqa: ASYNC110 (the model has been asked)
            await asyncio.sleep(0.01)
        server.release()
        assert "output" not in await quiet
