"""An OpenAI-compatible server that is asked to stream: the same completions, the same errors, and it may decline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.support.models import KEY, ScriptedServer, chat, refusing, streamed

from interlock.common.errors import Reason
from interlock.planner.gateways.base import CompletionRequest, Gateway, ModelError

Make = Callable[..., Gateway]
WORDS = ("one ", "two ", "three")


class Ears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def add(self, text: str) -> None:
        self.pieces.append(text)


def heard() -> tuple[CompletionRequest, Ears]:
    ears = Ears()
    return CompletionRequest("hello", timeout_s=20, listener=ears), ears


async def test_pieces_are_told_and_the_completion_is_whole(make: Make, server: ScriptedServer) -> None:
    server.script(streamed(*WORDS, usage={"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}))
    request, ears = heard()
    completion = await make("openai").complete(request)
    assert ears.pieces == list(WORDS)
    assert (completion.text, completion.finish_reason) == ("one two three", "stop")
    assert (completion.prompt_tokens, completion.cost_micros) == (3, 500_000)
    assert b"chunk" not in completion.raw


async def test_a_server_that_answers_whole_all_the_same_is_understood(
    make: Make, server: ScriptedServer
) -> None:
    server.script(chat("whole"))
    request, ears = heard()
    assert (await make("openai").complete(request)).text == "whole"
    assert ears.pieces == []


async def test_a_server_that_refuses_to_stream_is_asked_whole_from_then_on(
    make: Make, server: ScriptedServer
) -> None:
    server.script(refusing("stream_options"), chat("whole"))
    gateway = make("openai")
    request, _ = heard()
    assert [(await gateway.complete(request)).text for _ in range(2)] == ["whole", "whole"]
    assert ["stream" in each.json for each in server.asked] == [True, False, False]


async def test_a_price_is_worth_more_than_seeing_the_reply_come(make: Make, server: ScriptedServer) -> None:
    # LiteLLM's headers are there before anything has a price: what they say of a stream's cost does not count.
    server.script(
        streamed(*WORDS, x_litellm_response_cost="0.0"),
        chat("whole", headers={"x-litellm-response-cost": "0.001"}),
    )
    gateway = make("openai")
    request, _ = heard()
    assert [(await gateway.complete(request)).cost_micros for _ in range(2)] == [None, 1000]
    assert ["stream" in each.json for each in server.asked] == [True, False]


@pytest.mark.parametrize(
    ("fault", "seconds", "reason"),
    [("cut", 20.0, Reason.MODEL_REPLY_INVALID), ("stall", 0.5, Reason.MODEL_TIMEOUT)],
)
async def test_a_stream_that_ends_early_is_typed(
    make: Make, server: ScriptedServer, fault: str, seconds: float, reason: Reason
) -> None:
    server.script(streamed(*WORDS, fault=fault))
    request, ears = heard()
    with pytest.raises(ModelError) as caught:
        await make("openai").complete(replace(request, timeout_s=seconds))
    assert caught.value.reason is reason
    assert KEY not in str(caught.value)
    assert ears.pieces != list(WORDS)


async def test_a_stream_without_end_is_bounded(make: Make, server: ScriptedServer) -> None:
    server.script(streamed(*["word"] * 1000))
    request, _ = heard()
    with pytest.raises(ModelError, match="more than 1,000 bytes"):
        await make("openai", reply_bytes=1000).complete(request)
