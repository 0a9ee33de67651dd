"""Recorded replies: the same question gets the same answer without any model; another one, what differs."""

from __future__ import annotations

import json

import grpc
import pytest
from tests.integration.planner.conftest import Planner
from tests.support.models import (
    MODEL,
    Answer,
    Request,
    ScriptedServer,
    chat,
    of,
    refusing,
    structured,
)

from interlock.common.client import error_from_rpc
from interlock.common.digests import sha256_text
from interlock.common.errors import Reason
from interlock.v1 import planner_pb2 as pb

SUM = {"kind": "summarize", "name": "sum up", "instruction": "Say it."}
PLAN = {"steps": [SUM]}
ROUTED = [{"step_type": "summarize", "input": "Say it.", "description": "sum up"}]
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "cost": 0.002}
BAD = {"steps": [{"kind": "dance", "name": "d"}]}


def terms(*exchanges: pb.ModelExchange) -> pb.ModelTerms:
    return pb.ModelTerms(record=pb.ReplyRecord(origin="run-1", exchanges=exchanges))


def picky(request: Request) -> Answer | None:
    """A server that takes plain text only, and whose first two answers are of no use."""
    return refusing("response_format") if "response_format" in request.json else None


@pytest.mark.parametrize("gateway", ["openai", "router"])
async def test_a_question_is_answered_from_its_record_without_a_call(
    planner: Planner, server: ScriptedServer, gateway: str
) -> None:
    if gateway == "openai":
        server.rule(picky)
        server.script(chat("I would rather talk."), chat(BAD, usage=USAGE), chat(PLAN, usage=USAGE))
    else:
        server.script(structured(7), structured("no"), structured(ROUTED))
    request = pb.PlanRequest(goal="Improve f", files=[pb.ContextFile(path="a.py", content="x = 1\n")])
    async with planner(gateway) as stub:
        first = await stub.Plan(request)
    assert len(first.exchanges) >= 2
    for exchange in first.exchanges:
        asked = json.loads(exchange.request)
        assert set(asked) == {"purpose", "prompt_version", "model", "messages", "parameters"}
        assert exchange.call.request_digest == sha256_text(exchange.request)
    server.rule(lambda _request: of({}, 500))
    before = len(server.requests)
    request.terms.CopyFrom(terms(*first.exchanges))
    # Another gateway is configured: the record alone decides.
    async with planner("router" if gateway == "openai" else "openai") as stub:
        again = await stub.Plan(request)
    assert again == first
    assert len(server.requests) == before


async def test_a_question_that_was_not_recorded_says_what_differs(
    planner: Planner, server: ScriptedServer
) -> None:
    server.script(chat("An answer."))
    async with planner() as stub:
        first = await stub.Analyze(pb.AnalyzeRequest(instruction="What does f do?", goal="g"))
        asked = len(server.requests)
        other = pb.AnalyzeRequest(instruction="What does g do?", goal="g", terms=terms(*first.exchanges))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Analyze(other)
        none = pb.SummarizeRequest(terms=terms(*first.exchanges))
        with pytest.raises(grpc.aio.AioRpcError) as empty:
            await stub.Summarize(none)
    assert len(server.requests) == asked
    error = error_from_rpc(caught.value, "planner")
    assert error.reason is Reason.MODEL_REPLY_NOT_RECORDED
    assert error.metadata["differs"].startswith("messages[1].content (character ")
    assert error.metadata["recorded"].endswith("f do?")
    assert error.metadata["asked"].endswith("g do?")
    assert error.metadata["nearest_digest"] == first.exchanges[0].call.request_digest
    assert "it has none for this purpose" in str(error_from_rpc(empty.value, "planner"))


async def test_the_same_question_gets_its_replies_in_their_order(
    planner: Planner, server: ScriptedServer
) -> None:
    request = pb.AnalyzeRequest(instruction="Roll a die.")
    server.script(chat("One."), chat("Two."))
    async with planner() as stub:
        made = [*(await stub.Analyze(request)).exchanges, *(await stub.Analyze(request)).exchanges]
        for left, text in ((made, "One."), (made[1:], "Two.")):
            request.terms.CopyFrom(terms(*left))
            assert (await stub.Analyze(request)).text == text


async def test_a_failure_is_data_where_it_is_asked_for_and_is_replayed_too(
    planner: Planner, server: ScriptedServer
) -> None:
    server.script(chat(BAD, usage=USAGE))
    request = pb.PlanRequest(goal="g", terms=pb.ModelTerms(failure_as_data=True))
    async with planner() as stub:
        failed = await stub.Plan(request)
        assert failed.failure.reason == "MODEL_REPLY_INVALID"
        assert not failed.steps
        assert [exchange.call.model for exchange in failed.exchanges] == [MODEL] * 3
        assert sum(exchange.call.cost.total.micros for exchange in failed.exchanges) == 6000
        asked = len(server.requests)
        request.terms.record.CopyFrom(pb.ReplyRecord(origin="run-1", exchanges=failed.exchanges))
        again = await stub.Plan(request)
    assert (again.failure, list(again.exchanges)) == (failed.failure, list(failed.exchanges))
    assert len(server.requests) == asked
