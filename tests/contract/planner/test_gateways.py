"""What every gateway does: the real local model, and the two protocols against a scripted server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.models import Answer, Request, ScriptedServer, chat, completed, of, refusing, structured
from tests.support.models_local import SharedModel

from interlock.common.clock import SystemClock
from interlock.common.plan import EditFileInput, ReadFileInput, StepKind
from interlock.planner.commands import answer, draft, plan
from interlock.planner.commands.asking import Asker
from interlock.planner.domain import schemas
from interlock.planner.domain.model import AnswerTask, ContextFile, ContextResult, DraftTask, PlanTask
from interlock.planner.gateways.base import CompletionRequest, Gateway

KINDS = ["local", "openai-json_schema", "openai-json_object", "openai-text", "router", "router-unstructured"]
FILES = tuple(ContextFile(path, 100) for path in ("README.md", "src/number.py", "tests/test_number.py"))
RESULTS = (
    ContextResult("step-1", "read_file", "src/number.py", "succeeded", "def double(x):\n    return 2 * x\n"),
)
RICH = [
    {"kind": "read_file", "name": "look", "path": "src/number.py"},
    {"kind": "edit_file", "name": "change", "path": "src/number.py", "instruction": "Add a docstring."},
    {"kind": "run_command", "name": "test", "command": "python3 -m pytest -q"},
    {"kind": "summarize", "name": "sum up", "instruction": "Say what changed.", "context_keys": ["step-2"]},
]
ROUTER = [
    {"step_type": "read_file", "input": "src/number.py", "description": "look"},
    {"step_type": "edit_file", "input": "src/number.py", "description": "Add a docstring."},
    {"step_type": "run_command", "input": "python3 -m pytest -q", "description": "test"},
    {"step_type": "summarize", "input": "Say what changed.", "description": "sum up"},
]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "cost": 0.000123}


def openai_rule(accepted: str) -> Callable[[Request], Answer | None]:
    """Answers as a server that takes only some response formats."""

    def rule(request: Request) -> Answer | None:
        if request.path == "/v1/models":
            return of({"data": [{"id": "b"}, {"id": "a"}]})
        form = request.json.get("response_format", {}).get("type", "text")
        if form != "text" and form != accepted:
            return refusing("response_format", f"response_format type {form} is unavailable now")
        prompt = request.json["messages"][-1]["content"]
        wants_json = form != "text" or "JSON Schema" in prompt
        if not wants_json:
            return chat("It doubles a number.", usage=USAGE)
        data = (
            {"new_content": "x = 2\n"} if "new_content" in prompt and "File:" in prompt else {"steps": RICH}
        )
        text = json.dumps(data)
        return chat(f"Sure!\n```json\n{text}\n```" if form == "text" else text, usage=USAGE)

    return rule


def router_rule(structures: bool) -> Callable[[Request], Answer | None]:
    def rule(request: Request) -> Answer | None:
        if request.path == "/health":
            return of({"status": "healthy"})
        if request.path == "/v1/structure":
            return structured(ROUTER) if structures else of({"detail": "structuring failed"}, 500)
        if "JSON Schema" in request.json["prompt"]:
            return completed(f"Here you are: {json.dumps(ROUTER)}")
        if "<<<FILE" in request.json["prompt"]:
            return completed("<<<FILE\nx = 2\nFILE>>>")
        return completed("It doubles a number.")

    return rule


@pytest.fixture(params=KINDS)
async def gateway(
    request: pytest.FixtureRequest, server: ScriptedServer, make: Callable[..., Gateway]
) -> AsyncIterator[Gateway]:
    kind, _, variant = request.param.partition("-")
    if kind == "local":
        shared: SharedModel = request.getfixturevalue("local_model")
        local = shared.gateway()
        yield local
        await local.aclose()
        return
    server.rule(openai_rule(variant) if kind == "openai" else router_rule(structures=not variant))
    yield make(kind)


@pytest.fixture
def asker(gateway: Gateway) -> Asker:
    return Asker(gateway, SystemClock(), attempts=3, timeout_s=110)


async def test_text_comes_with_everything_that_is_journaled(gateway: Gateway) -> None:
    reply = await gateway.complete(CompletionRequest("What does double do?", "Be brief.", max_tokens=40))
    assert reply.text.strip()
    assert "What does double do?" in str(json.loads(reply.sent))
    assert "Be brief." in str(json.loads(reply.sent))
    assert json.loads(reply.raw)
    assert reply.model
    assert reply.latency_ms >= 0
    if gateway.info.name == "router":
        assert (reply.prompt_tokens, reply.completion_tokens, reply.cost_micros) == (None, None, 120)
        assert reply.cache_hit is False
    elif gateway.info.name == "openai":
        assert (reply.prompt_tokens, reply.completion_tokens, reply.cost_micros) == (11, 7, 123)
        assert reply.finish_reason == "stop"
    else:
        assert (reply.prompt_tokens or 0) > 0
        assert reply.cost_micros == 0
        assert reply.model == "smollm2-135m-instruct"


async def test_structure_gives_data(gateway: Gateway) -> None:
    tiny = schemas.tiny_schema(["a.py"], ["ls -la"], 5)
    wanted = tiny if gateway.info.name == "local" else schemas.router_schema()
    found = await gateway.structure(CompletionRequest("Plan the work on a.py.", max_tokens=600), wanted)
    assert isinstance(found.data, (dict, list))
    assert found.completions
    assert all(reply.sent and reply.raw for reply in found.completions)


async def test_a_goal_becomes_a_valid_plan(asker: Asker) -> None:
    asked = await plan.plan(asker, PlanTask("Add a docstring to number.py", FILES))
    kinds = [step.kind for step in asked.value]
    assert kinds[0] is StepKind.READ_FILE
    assert kinds[-1] is StepKind.SUMMARIZE
    for step in asked.value:
        if isinstance(step.input, (ReadFileInput, EditFileInput)):
            assert step.input.path in {file.path for file in FILES}
        assert step.gate is None
    assert [exchange.purpose for exchange in asked.exchanges] == ["plan"] * len(asked.exchanges)
    assert all(exchange.cost_micros is not None for exchange in asked.exchanges)


async def test_a_rejection_becomes_a_new_plan(asker: Asker) -> None:
    task = PlanTask(
        "Add a docstring to number.py", FILES, results=RESULTS, feedback="Use another wording.", max_steps=6
    )
    asked = await plan.plan(asker, task)
    assert asked.value
    assert asked.exchanges[-1].purpose == "replan"


async def test_analysis_and_summary_are_text(asker: Asker) -> None:
    for ask in (answer.analyze, answer.summarize):
        asked = await ask(asker, AnswerTask("What does double do?", "understand it", RESULTS))
        assert asked.value.strip()
        assert len(asked.exchanges) == 1


async def test_a_draft_changes_the_file(asker: Asker) -> None:
    asked = await draft.draft(asker, DraftTask("src/number.py", "Set x to 2.", "x = 1\n"))
    assert asked.value != "x = 1\n"
    if asker.gateway.info.name == "local":
        assert asked.value.startswith("x = 1\n")
    else:
        assert asked.value == "x = 2\n"


async def test_health_and_models(gateway: Gateway) -> None:
    assert await gateway.available()
    names: dict[str, Any] = {"local": ("smollm2-135m-instruct",), "openai": ("a", "b"), "router": ()}
    assert await gateway.models() == names[gateway.info.name]
