"""Replies in pieces: put together they are what a whole reply would have been, however the bytes are cut."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.models import chat, streamed

from interlock.common.errors import Reason
from interlock.planner.gateways.base import Completion, ModelError
from interlock.planner.gateways.openai import reread
from interlock.planner.gateways.streamed import Joiner
from interlock.planner.gateways.transport import HttpReply

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.00012345}


class Ears:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def add(self, text: str) -> None:
        self.pieces.append(text)


def read(body: bytes) -> Completion:
    return reread(HttpReply(200, httpx.Headers(), body, 5), b"sent", "asked")


def joined(body: bytes, cuts: list[int] | None = None) -> tuple[bytes, str]:
    ears = Ears()
    joiner = Joiner(ears)
    at = 0
    for cut in [*sorted(cuts or []), len(body)]:
        joiner.feed(body[at:cut])
        at = max(at, cut)
    return joiner.whole(), "".join(ears.pieces)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6), st.data())
@settings(max_examples=60)
def test_pieces_make_the_same_completion_as_a_whole_reply(pieces: list[str], data: st.DataObject) -> None:
    pieces = [*pieces, "."]
    body = streamed(*pieces, usage=USAGE).body
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    raw, heard = joined(body, cuts)
    assert heard == "".join(pieces)
    whole, expected = read(raw), read(chat("".join(pieces), usage=USAGE).body)
    for name in ("text", "model", "finish_reason", "prompt_tokens", "completion_tokens", "cost_micros"):
        assert getattr(whole, name) == getattr(expected, name)
    assert whole.cost_micros == 124


def test_lines_may_end_as_servers_like_and_comments_are_passed_over() -> None:
    body = streamed("a", "b").body.replace(b"\n", b"\r\n")
    raw, heard = joined(b": keep-alive\r\n\r\nevent: x\r\n" + body.replace(b"data: [DONE]\r\n\r\n", b""))
    assert (heard, read(raw).text) == ("ab", "ab")


def test_a_tool_call_in_pieces_is_no_answer() -> None:
    call = {"choices": [{"delta": {"tool_calls": [{"index": 0}]}, "finish_reason": "tool_calls"}]}
    raw, _ = joined(f"data: {json.dumps(call)}\n\ndata: [DONE]\n\n".encode())
    with pytest.raises(ModelError, match="a tool call instead of an answer"):
        read(raw)


def test_a_refusal_in_pieces_is_one() -> None:
    piece = {"choices": [{"delta": {"refusal": "I will not."}, "finish_reason": "stop"}]}
    raw, _ = joined(f"data: {json.dumps(piece)}\n\n".encode())
    with pytest.raises(ModelError) as caught:
        read(raw)
    assert caught.value.reason is Reason.MODEL_REFUSED


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        (b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n', Reason.MODEL_REPLY_INVALID, "broke off"),
        (b"data: {\n\n", Reason.MODEL_REPLY_INVALID, "not JSON"),
        (b"data: [1]\n\n", Reason.MODEL_REPLY_INVALID, "not JSON"),
        (
            b'data: {"error": {"message": "CUDA: sk-abcdefgh"}}\n\ndata: [DONE]\n\n',
            Reason.MODEL_UNAVAILABLE,
            r"CUDA: \*\*\*",
        ),
    ],
)
def test_what_does_not_come_to_its_end_is_typed(body: bytes, reason: Reason, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        joined(body)
    assert caught.value.reason is reason
