"""The planner as a process: start, serve, trace, stop; and what it says when it cannot start."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from tests.support.models import KEY, MODEL, ScriptedServer, chat
from tests.support.otlp import receiving
from tests.support.planning import check_record
from tests.support.processes import python_module

from interlock.common.client import channel
from interlock.v1 import planner_pb2 as pb
from interlock.v1.planner_pb2_grpc import PlannerStub


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0",
        "INTERLOCK_DATA_DIR": str(tmp_path / "data"),
        "INTERLOCK_TOKEN": "token",
        "INTERLOCK_READY_FILE": str(tmp_path / "ready"),
        **more,
    }


async def test_it_serves_logs_no_key_traces_by_convention_and_drains(
    tmp_path: Path, server: ScriptedServer
) -> None:
    server.script(chat("fine", usage={"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}))
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    async with receiving() as receiver:
        env = environment(
            tmp_path,
            INTERLOCK_MODEL_GATEWAY="openai",
            INTERLOCK_MODEL_BASE_URL=server.url + "/v1",
            INTERLOCK_MODEL_NAME=MODEL,
            INTERLOCK_MODEL_API_KEY_FILE=str(key_file),
            INTERLOCK_LOG_LEVEL="debug",
            **receiver.environment(),
        )
        async with python_module(tmp_path / "log", "interlock.planner", env=env) as child:
            address = await child.wait_for_file(tmp_path / "ready")
            async with channel(address, "token") as opened:
                await PlannerStub(opened).Analyze(pb.AnalyzeRequest(instruction="a private question"))
            spans = await receiver.wait_for(
                lambda found: any(span.name.startswith("chat ") for span in found)
            )
            await receiver.wait_for_metric("interlock-planner", "gen_ai.client.token.usage")
            child.process.send_signal(signal.SIGTERM)
            assert await child.wait() == 0
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in child.log
    assert "a private question" not in child.log
    chat_span = next(span for span in spans if span.name == f"chat {MODEL}")
    assert chat_span.attributes["gen_ai.operation.name"] == "chat"
    assert chat_span.attributes["gen_ai.usage.input_tokens"] == 3
    assert chat_span.attributes["interlock.cost_micros"] == 500_000
    assert KEY not in str(spans)
    assert "a private question" not in str(spans)
    assert chat_span.trace_id
    assert chat_span.parent_id


async def test_the_local_model_is_the_default_and_ends_with_the_planner(tmp_path: Path) -> None:
    async with python_module(tmp_path / "log", "interlock.planner", env=environment(tmp_path)) as child:
        address = await child.wait_for_file(tmp_path / "ready")
        planner = psutil.Process(child.process.pid)
        assert planner.children() == []
        async with channel(address, "token") as opened:
            stub = PlannerStub(opened)
            found = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
            assert "tiny local model: small and often wrong" in found.notice
            request = pb.PlanRequest(goal="Fix a.py", files=[pb.ContextFile(path="a.py")], max_steps=3)
            plan = await stub.Plan(request, timeout=100)
        assert plan.steps
        check_record(plan)
        assert {each.call.cost.total.micros for each in plan.exchanges} == {0}
        (model,) = planner.children()
        child.process.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
        assert not model.is_running()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"INTERLOCK_MODEL_GATEWAY": "oracle"}, "INTERLOCK_MODEL_GATEWAY"),
        ({"INTERLOCK_MODEL_GATEWAY": "openai", "INTERLOCK_MODEL_NAME": "m"}, "INTERLOCK_MODEL_BASE_URL"),
        ({"INTERLOCK_MODEL_API_KEY": f"{KEY} {KEY}"}, "INTERLOCK_MODEL_API_KEY"),
    ],
)
async def test_wrong_settings_end_it_with_one_line_that_names_them(
    tmp_path: Path, settings: dict[str, str], field: str
) -> None:
    env = environment(tmp_path, **settings)
    async with python_module(tmp_path / "log", "interlock.planner", env=env) as child:
        assert await child.wait() == 2
    assert field in child.log
    assert "Traceback" not in child.log
    assert KEY not in child.log
