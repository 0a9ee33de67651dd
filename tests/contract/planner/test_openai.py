"""What is particular to OpenAI-compatible servers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.support.models import MODEL, ScriptedServer, chat, of, refusing

from interlock.common.errors import Reason
from interlock.planner.domain.schemas import rich_schema
from interlock.planner.gateways.base import CompletionRequest, Gateway, ModelError

ASK = CompletionRequest("hello", "be kind", max_tokens=50, timeout_s=20)
Make = Callable[..., Gateway]


async def test_the_request_is_canonical_json_with_everything_in_its_place(
    make: Make, server: ScriptedServer
) -> None:
    server.script(chat("hi"))
    await make("openai").complete(ASK)
    sent = server.asked[0]
    assert sent.path == "/v1/chat/completions"
    assert sent.json == {
        "max_tokens": 50,
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
        "model": MODEL,
        "temperature": 0,
    }
    assert sent.body == json.dumps(sent.json, separators=(",", ":"), sort_keys=True).encode()


async def test_formats_step_down_once_and_are_remembered(make: Make, server: ScriptedServer) -> None:
    server.script(
        refusing("response_format"),
        refusing("response_format"),
        chat('{"steps": []}'),
        chat('{"steps": [1]}'),
    )
    gateway = make("openai")
    assert (await gateway.structure(ASK, rich_schema(3))).data == {"steps": []}
    assert (await gateway.structure(ASK, rich_schema(3))).data == {"steps": [1]}
    forms = [request.json.get("response_format", {}).get("type") for request in server.asked]
    assert forms == ["json_schema", "json_object", None, None]
    assert "JSON Schema" in server.asked[-1].json["messages"][-1]["content"]
    assert "JSON Schema" not in server.asked[0].json["messages"][-1]["content"]


async def test_newer_and_stricter_parameters_are_adapted_to(make: Make, server: ScriptedServer) -> None:
    server.script(
        refusing("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        refusing("temperature"),
        chat("hi"),
    )
    await make("openai").complete(ASK)
    assert server.asked[-1].json["max_completion_tokens"] == 50
    assert not {"max_tokens", "temperature"} & server.asked[-1].json.keys()


async def test_adapting_ends(make: Make, server: ScriptedServer) -> None:
    server.script(refusing("response_format"))
    with pytest.raises(ModelError) as caught:
        await make("openai").structure(ASK, rich_schema(3))
    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        ({"content": None, "refusal": "I cannot help with that."}, Reason.MODEL_REFUSED, "I cannot help"),
        ({"content": None, "tool_calls": [{"id": "1"}]}, Reason.MODEL_REPLY_INVALID, "tool call"),
        ({"content": ""}, Reason.MODEL_REPLY_INVALID, "no content"),
        ({"content": 7}, Reason.MODEL_REPLY_INVALID, "no content"),
        ("nonsense", Reason.MODEL_REPLY_INVALID, "no content"),
    ],
)
async def test_a_message_without_an_answer(
    make: Make, server: ScriptedServer, message: object, reason: Reason, text: str
) -> None:
    server.script(of({"choices": [{"message": message, "finish_reason": "stop"}], "model": MODEL}))
    with pytest.raises(ModelError) as caught:
        await make("openai").complete(ASK)
    assert caught.value.reason is reason
    assert text in str(caught.value)
    assert caught.value.completions


@pytest.mark.parametrize("choices", [[], None, "x", [7], [{}]])
async def test_choices_of_any_shape_are_survived(make: Make, server: ScriptedServer, choices: object) -> None:
    server.script(of({"choices": choices}))
    with pytest.raises(ModelError) as caught:
        await make("openai").complete(ASK)
    assert caught.value.reason is Reason.MODEL_REPLY_INVALID


async def test_a_reply_stopped_by_the_filter_is_a_refusal(make: Make, server: ScriptedServer) -> None:
    server.script(chat("half an ans", finish="content_filter"))
    with pytest.raises(ModelError) as caught:
        await make("openai").complete(ASK)
    assert caught.value.reason is Reason.MODEL_REFUSED


async def test_a_reply_cut_at_its_limit_says_so(make: Make, server: ScriptedServer) -> None:
    server.script(chat('{"steps": [{"kind"', finish="length"))
    with pytest.raises(ModelError) as caught:
        await make("openai").structure(ASK, rich_schema(3))
    assert "cut at its token limit" in str(caught.value)


async def test_content_in_parts_is_joined(make: Make, server: ScriptedServer) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    server.script(of({"choices": [{"message": {"content": parts}}]}))
    reply = await make("openai").complete(ASK)
    assert (reply.text, reply.model) == ("ab", MODEL)


@pytest.mark.parametrize(
    ("usage", "header", "cost"),
    [
        ({"cost": 0.0000004}, None, 1),
        ({"cost": 0.1}, None, 100_000),
        ({"cost": 0}, None, 0),
        ({"cost": "0.25"}, None, 250_000),
        ({"cost": -1}, None, None),
        ({"cost": True}, None, None),
        ({"cost": {"total": 1}}, None, None),
        ({}, None, None),
        (None, None, None),
        ({"cost": 5}, "3.1e-05", 31),
        ({}, "free", None),
        ({}, "inf", None),
    ],
)
async def test_cost_is_what_the_server_says_and_otherwise_unknown(
    make: Make, server: ScriptedServer, usage: object, header: str | None, cost: int | None
) -> None:
    server.script(chat("hi", usage=usage, headers={"x-litellm-response-cost": header} if header else {}))
    assert (await make("openai").complete(ASK)).cost_micros == cost


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "many"}, {"prompt_tokens": -1}, {"prompt_tokens": 1.5}, [], "x"]
)
async def test_odd_usage_is_unknown_not_zero(make: Make, server: ScriptedServer, usage: object) -> None:
    server.script(chat("hi", usage=usage))
    assert (await make("openai").complete(ASK)).prompt_tokens is None


@pytest.mark.parametrize("listed", [of({"data": "x"}), of([]), of({"data": [1, {"id": 2}]}), of({}, 500)])
async def test_a_list_of_models_of_any_shape_is_survived(
    make: Make, server: ScriptedServer, listed: object
) -> None:
    server.rule(lambda _request: listed)  # type: ignore[arg-type,return-value]
    assert await make("openai").models() == ()


@pytest.mark.parametrize(("status", "available"), [(200, True), (404, True), (401, False), (503, False)])
async def test_availability(make: Make, server: ScriptedServer, status: int, available: bool) -> None:
    server.script(of({}, status))
    assert await make("openai").available() is available
