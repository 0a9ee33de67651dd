"""A run recorded with the real local model: watched while it speaks, and replayed to the same journal without it."""

from __future__ import annotations

import pytest
from tests.integration.orchestrator.service.test_recorded_replies import analyze, journal
from tests.support.orchestrator import NOWHERE, TOKEN, create, executor_server, orchestrator, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import step_pb2

pytestmark = [pytest.mark.torture, pytest.mark.timeout(400)]
"""The model takes half a minute on a busy machine; the same with a scripted one is in test_recorded_replies."""


def summarize(*keys: str) -> step_pb2.StepSpec:
    return step_pb2.StepSpec(input=step_pb2.StepInput(summarize=step_pb2.SummarizeInput(context_keys=keys)))


async def test_the_local_models_run_is_replayed_to_the_same_journal(database_url: str) -> None:
    settings = {"INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0", "INTERLOCK_MODEL_TIMEOUT": "300"}
    steps = (analyze("What is a journal?"), summarize("step-1"))
    async with executor_server(ScriptedExecutor(Script())) as executor:
        async with (
            running(build_spec(load(settings), TOKEN)) as planner,
            orchestrator(database_url, executor, planner) as it,
        ):
            first = await create(it.stub, *steps)
            heard: dict[int, bytes] = {}
            async for told in it.stub.WatchRun(o.WatchRunRequest(run_id=first.run_id), timeout=300):
                if told.WhichOneof("update") == "output":
                    heard[told.output.step] = heard.get(told.output.step, b"") + told.output.data
            done = (await it.stub.GetRun(o.GetRunRequest(run_id=first.run_id))).run
            assert [len(step.model_calls) > 0 for step in done.steps] == [True, True]
            recorded = await journal(it.stub, first.run_id)
            for step in done.steps:  # what was told live is the reply, where the model was asked once
                if len(step.model_calls) == 1:
                    assert heard[step.number].decode().strip() == step.reply.strip()

            # Again with the model there, and then by a planner that has none and an orchestrator that begins anew.
            again = await create(it.stub, *steps, replay_from=first.run_id)
            await until(it.stub, again.run_id, "COMPLETED")
            assert await journal(it.stub, again.run_id) == recorded
        other = {"INTERLOCK_MODEL_GATEWAY": "openai", "INTERLOCK_MODEL_NAME": "none"}
        nowhere = {"INTERLOCK_MODEL_BASE_URL": f"http://{NOWHERE}/v1"}
        async with (
            running(build_spec(load({**settings, **other, **nowhere}), TOKEN)) as planner,
            orchestrator(database_url, executor, planner) as it,
        ):
            third = await create(it.stub, *steps, replay_from=first.run_id)
            await until(it.stub, third.run_id, "COMPLETED")
            assert await journal(it.stub, third.run_id) == recorded
