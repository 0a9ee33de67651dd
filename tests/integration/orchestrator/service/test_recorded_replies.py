"""A run whose model replies come from another run's record: the same journal, and no model is asked."""

from __future__ import annotations

import json
from typing import Any

from tests.support.models import KEY, MODEL, ScriptedServer, chat, of, scripted
from tests.support.orchestrator import TOKEN, create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import step_pb2

USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "cost": 0.002}


def analyze(text: str) -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(analyze=step_pb2.AnalyzeInput(instruction=text)))


def planner_on(server: ScriptedServer, model: str = MODEL) -> Any:
    env = {
        "INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_MODEL_GATEWAY": "openai",
        "INTERLOCK_MODEL_BASE_URL": f"{server.url}/v1",
        "INTERLOCK_MODEL_NAME": model,
        "INTERLOCK_MODEL_API_KEY": KEY,
        "INTERLOCK_MODEL_ATTEMPTS": "1",
    }
    return running(build_spec(load(env), TOKEN))


async def journal(stub: Any, run_id: str) -> list[tuple[str, Any]]:
    """What a run's journal says, without what is one run's own: its first event, times, names and salts."""
    events = (await stub.ListEvents(o.ListEventsRequest(run_id=run_id, page_size=1000))).events
    out = []
    for event in events[1:]:
        data = json.loads(event.canonical_json)["data"]
        out.append((event.type, _own(data)))
    return out


def _own(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _own(value) for key, value in data.items() if not key.endswith("_payload")}
    return [_own(each) for each in data] if isinstance(data, list) else data


async def test_a_replayed_run_has_the_same_journal_and_asks_no_model(database_url: str) -> None:
    async with (
        scripted() as server,
        executor_server(ScriptedExecutor(Script())) as executor,
        planner_on(server) as at,
        orchestrator(database_url, executor, at) as it,
    ):
        server.script(chat("First.", usage=USAGE), chat("", usage=USAGE), chat("Second."))
        steps = (analyze("What is it?"), analyze("And why?"))
        first = await create(it.stub, *steps)
        await until(it.stub, first.run_id, "COMPLETED")
        asked = len(server.requests)
        assert asked == 3  # the second one's first answer was of no use
        server.rule(lambda _request: of({}, 500))

        again = await create(it.stub, *steps, replay_from=first.run_id)
        await until(it.stub, again.run_id, "COMPLETED")
        assert again.replay_from == first.run_id
        assert await journal(it.stub, again.run_id) == await journal(it.stub, first.run_id)

        other = await create(it.stub, steps[0], analyze("And how?"), replay_from=first.run_id)
        await until(it.stub, other.run_id, "FAILED")
        failed = (await it.stub.GetRun(o.GetRunRequest(run_id=other.run_id))).run
        assert failed.failure.reason == "MODEL_REPLY_NOT_RECORDED"
        assert failed.failure.metadata["asked"].endswith("And how?")
        assert len(server.requests) == asked
