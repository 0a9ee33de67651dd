"""The Smart Model Router's protocol and its known behaviour."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.models import MODEL, Answer, Request, ScriptedServer, completed, of, structured

from interlock.common.errors import Reason
from interlock.planner.domain.schemas import router_schema
from interlock.planner.gateways.base import CompletionRequest, Gateway, ModelError
from interlock.planner.gateways.router import RouterGateway
from interlock.planner.gateways.transport import Limits, Transport

ASK = CompletionRequest("hello", "be kind", timeout_s=20)
STEP = {"step_type": "summarize", "input": "x", "description": "y"}
Make = Callable[..., Gateway]


async def test_the_system_prompt_is_folded_into_the_prompt(make: Make, server: ScriptedServer) -> None:
    server.script(completed("hi"))
    await make("router").complete(ASK)
    assert server.asked[0].path == "/v1/complete"
    assert server.asked[0].json == {"prompt": "be kind\n\nhello"}


async def test_a_tier_is_forced_when_configured(server: ScriptedServer, make: Make) -> None:
    server.script(completed("hi"))
    transport = Transport(server.url + "/", {}, Limits(), trust_env=False)
    gateway = RouterGateway(make("router").info, transport, tier="hard")
    await gateway.complete(ASK)
    assert server.asked[0].json["force_tier"] == "hard"
    await gateway.aclose()


async def test_cost_model_and_cache_are_recorded_and_tokens_are_unknown(
    make: Make, server: ScriptedServer
) -> None:
    server.script(completed("hi", cache_hit=True, estimated_cost=0.0001234))
    reply = await make("router").complete(ASK)
    assert (reply.model, reply.cost_micros, reply.cache_hit) == (MODEL, 124, True)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish_reason) == (None, None, "")


@pytest.mark.parametrize(
    "fields", [{"estimated_cost": None, "cache_hit": None}, {"estimated_cost": "x", "cache_hit": 1}]
)
async def test_what_is_not_said_is_unknown(
    make: Make, server: ScriptedServer, fields: dict[str, object]
) -> None:
    server.script(completed("hi", **fields))
    reply = await make("router").complete(ASK)
    assert (reply.cost_micros, reply.cache_hit) == (None, None)


async def test_a_prompt_over_the_limit_is_not_sent(make: Make, server: ScriptedServer) -> None:
    with pytest.raises(ModelError) as caught:
        await make("router").complete(CompletionRequest("x" * 100_001))
    assert caught.value.reason is Reason.MODEL_PROMPT_TOO_LARGE
    assert server.asked == []


@pytest.mark.parametrize("data", [[STEP], {"steps": [STEP]}, '[{"step_type": "summarize"}]'])
async def test_structure_takes_an_array_an_object_or_their_text(
    make: Make, server: ScriptedServer, data: object
) -> None:
    server.script(structured(data))
    found = await make("router").structure(ASK, router_schema())
    assert isinstance(found.data, (list, dict))
    assert found.completions[0].cost_micros == 340
    assert server.asked[0].json["json_schema"] == router_schema()


async def test_the_schema_is_conservative() -> None:
    text = str(router_schema())
    assert "additionalProperties" not in text
    assert "const" not in text
    assert router_schema()["type"] == "array"
    assert set(router_schema()["items"]["properties"]) == {"step_type", "input", "description"}


async def test_when_structuring_fails_the_text_is_asked_once_and_read(
    make: Make, server: ScriptedServer
) -> None:
    def rule(request: Request) -> Answer:
        failed = request.path == "/v1/structure"
        return (
            of({"detail": "Failed to structure"}, 500)
            if failed
            else completed('Here: [{"step_type": "analyze"}]')
        )

    server.rule(rule)
    found = await make("router").structure(ASK, router_schema())
    assert found.data == [{"step_type": "analyze"}]
    assert [request.path for request in server.asked] == ["/v1/structure", "/v1/complete"]


@pytest.mark.parametrize("data", [None, 7, True, "prose"])
async def test_structure_with_other_data_is_invalid(make: Make, server: ScriptedServer, data: object) -> None:
    server.script(structured(data))
    with pytest.raises(ModelError) as caught:
        await make("router").structure(ASK, router_schema())
    assert caught.value.reason is Reason.MODEL_REPLY_INVALID


@pytest.mark.parametrize(("status", "available"), [(200, True), (404, False), (503, False)])
async def test_availability_is_its_health_route(
    make: Make, server: ScriptedServer, status: int, available: bool
) -> None:
    server.script(of({}, status))
    assert await make("router").available() is available
    assert server.requests[0].path == "/health"
