"""Several gateways: by purpose, in their order, within the caller's time and budget; what was passed over is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from tests.integration.planner.conftest import TOKEN, failing
from tests.support.models import HANG, MODEL, ScriptedServer, chat, completed, of, scripted

from interlock.common.client import channel
from interlock.common.errors import Reason
from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1 import planner_pb2 as pb
from interlock.v1.planner_pb2_grpc import PlannerStub

USAGE = {"prompt_tokens": 20, "completion_tokens": 10}
PLAN = chat({"steps": [{"kind": "summarize", "name": "s", "instruction": "Say it."}]}, usage=USAGE)
DOWN = of({}, 503)

Routed = Callable[..., AbstractAsyncContextManager[PlannerStub]]


@pytest.fixture
async def spare() -> AsyncIterator[ScriptedServer]:
    async with scripted() as running_server:
        yield running_server


@pytest.fixture
def routed(tmp_path: Path, server: ScriptedServer, spare: ScriptedServer) -> Routed:
    """A planner on two servers, ``cloud`` (OpenAI-compatible) before ``spare`` (a router); ``more`` is of the first."""

    @asynccontextmanager
    async def serving(more: str = "", routes: str = "", spare_more: str = "") -> AsyncIterator[PlannerStub]:
        path = tmp_path / "gateways.yaml"
        path.write_text(
            f"gateways:\n"
            f"  cloud: {{kind: openai, base_url: '{server.url}/v1', model: {MODEL}, attempts: 1{more}}}\n"
            f"  spare: {{kind: router, base_url: '{spare.url}', attempts: 1{spare_more}}}\n{routes}"
        )
        env = {"INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0", "INTERLOCK_PLANNER_GATEWAYS": str(path)}
        async with running(build_spec(load(env), TOKEN)) as address, channel(address, TOKEN) as opened:
            yield PlannerStub(opened)

    return serving


ASK = pb.AnalyzeRequest(instruction="What is it?")


async def test_the_next_gateway_answers_and_the_first_is_named(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(DOWN)
    spare.script(completed("fine"))
    async with routed() as stub:
        answer = await stub.Analyze(ASK)
    (exchange,) = answer.exchanges
    assert (answer.text, exchange.call.gateway, exchange.call.model) == ("fine", "spare", MODEL)
    assert [(each.gateway, each.reason) for each in exchange.call.passed_over] == [
        ("cloud", "MODEL_UNAVAILABLE")
    ]
    assert len(server.asked) == 1


async def test_what_was_paid_for_in_vain_is_kept_too(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(chat("no JSON", usage=USAGE | {"cost": 0.001}))
    spare.script(of({"data": [], "model_used": "x"}), of({"data": [], "model_used": "x"}), DOWN)
    async with routed() as stub:
        error = await failing(stub.Plan(pb.PlanRequest(goal="g")))
        request = pb.PlanRequest(goal="g", terms=pb.ModelTerms(failure_as_data=True))
        spare.script(DOWN)
        failed = await stub.Plan(request)
    assert error.metadata["passed_over"] == "cloud MODEL_REPLY_INVALID"
    assert [each.call.gateway for each in failed.exchanges] == ["cloud"] * 3
    assert [each.call.cost.total.micros for each in failed.exchanges] == [1000] * 3
    assert failed.failure.metadata["gateway"] == "spare"


async def test_each_purpose_has_its_route(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(PLAN)
    spare.script(completed("short"))
    async with routed(routes="routes: {plan: [cloud], default: [spare]}") as stub:
        plan = await stub.Plan(pb.PlanRequest(goal="g"))
        summary = await stub.Summarize(pb.SummarizeRequest())
        server.script(DOWN)
        error = await failing(stub.Plan(pb.PlanRequest(goal="g")))
        told = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
    assert plan.exchanges[0].call.gateway == "cloud"
    assert not plan.exchanges[0].call.passed_over
    assert summary.exchanges[0].call.gateway == "spare"
    assert error.reason is Reason.MODEL_UNAVAILABLE
    routes = {route.purpose: list(route.gateways) for route in told.routes}
    assert routes == {"plan": ["cloud"], "analyze": ["spare"], "summarize": ["spare"], "draft": ["spare"]}


async def test_a_refusal_is_not_shopped_around(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(of({"choices": [{"message": {"refusal": "I would rather not."}}]}))
    async with routed() as stub:
        error = await failing(stub.Analyze(ASK))
    assert error.reason is Reason.MODEL_REFUSED
    assert not spare.asked


async def test_one_that_hangs_leaves_time_for_the_next(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(HANG)
    spare.script(completed("in time"))
    async with routed(more=", timeout: 1") as stub:
        of_its_own = await stub.Analyze(ASK)
    async with routed() as stub:
        of_the_caller = await stub.Analyze(ASK, timeout=6.0)
    for answer in (of_its_own, of_the_caller):
        assert answer.text == "in time"
        assert answer.exchanges[-1].call.passed_over[0].reason == "MODEL_TIMEOUT"


async def test_a_gateway_that_keeps_failing_is_not_asked_for_a_while(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(DOWN)
    spare.script(completed("fine"))
    async with routed(more=", breaker: {failures: 2, seconds: 600}, concurrency: 3") as stub:
        for _ in range(4):
            await stub.Analyze(ASK)
        told = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
    assert len(server.asked) == 2
    cloud, other = told.gateways
    assert (cloud.name, cloud.kind, cloud.failures, cloud.concurrency) == ("cloud", "openai", 2, 3)
    assert 0 < cloud.refused_for.ToMilliseconds() <= 600_000
    assert (other.name, other.kind, other.model) == ("spare", "router", "router")
    assert not other.HasField("refused_for")


async def test_a_settled_price_counts_before_what_a_gateway_says(
    routed: Routed, server: ScriptedServer
) -> None:
    server.script(chat("fine", usage=USAGE | {"cost": 5}))
    async with routed(more=", price: {prompt: 2, completion: 10}") as stub:
        answer = await stub.Analyze(ASK)
    assert answer.exchanges[0].call.cost.total.micros == 20 * 2 + 10 * 10


async def test_a_budget_is_told_the_worst_case_of_the_whole_route(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(DOWN)
    spare.script(completed("fine"))

    async def asked(stub: PlannerStub, micros: int) -> pb.AnalyzeResponse:
        terms = pb.ModelTerms(failure_as_data=True, max_cost_micros=micros)
        return await stub.Analyze(pb.AnalyzeRequest(instruction="What is it?", terms=terms))

    prices = (", price: {prompt: 1, completion: 1}", ", price: {prompt: 50, completion: 50}")
    async with routed(more=prices[0], spare_more=prices[1]) as stub:
        told = (await asked(stub, 0)).failure
        assert told.reason == "RUN_BUDGET_REACHED"
        assert not server.asked + spare.asked
        worst, needed = int(told.metadata["worst_micros"]), int(told.metadata["needed_micros"])
        assert worst > 50 * needed
        answer = await asked(stub, worst)
    assert answer.text == "fine"


async def test_headers_and_keys_go_where_they_belong_and_never_come_back(
    routed: Routed, server: ScriptedServer, tmp_path: Path
) -> None:
    key = "planted/4f2a+unit"
    (tmp_path / "key").write_text(key)
    server.script(of({"error": {"message": f"bad {key}"}}, 400), chat(f"You sent {key}."))
    more = f", key_file: {tmp_path / 'key'}, headers: {{x-team: research}}"
    async with routed(more=more, routes="routes: {analyze: [cloud], default: [spare]}") as stub:
        error = await failing(stub.Analyze(ASK))
        answer = await stub.Analyze(ASK)
    assert server.asked[0].headers["authorization"] == f"Bearer {key}"
    assert server.asked[0].headers["x-team"] == "research"
    assert "4f2a" not in f"{error} {error.fix} {error.metadata}"
    assert answer.text == "You sent ***."
    assert b"4f2a" not in answer.SerializeToString()


async def test_a_replay_says_what_was_passed_over_then(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(DOWN)
    spare.script(completed("fine"))
    async with routed() as stub:
        first = await stub.Analyze(ASK)
        terms = pb.ModelTerms(record=pb.ReplyRecord(origin="run-1", exchanges=first.exchanges))
        again = await stub.Analyze(pb.AnalyzeRequest(instruction="What is it?", terms=terms))
    assert again == first
    assert len(spare.asked) == 1


async def test_deadlines_are_typed_errors_also_when_every_gateway_hangs(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(HANG)
    spare.script(HANG)
    async with routed() as stub:
        error = await failing(stub.Analyze(ASK, timeout=2.0))
        assert error.code != grpc.StatusCode.UNKNOWN.name
    assert error.reason is Reason.MODEL_TIMEOUT
    assert error.metadata["passed_over"] == "cloud MODEL_TIMEOUT"


async def test_a_call_without_a_reply_is_on_record_and_fails_the_same_in_a_replay(
    routed: Routed, server: ScriptedServer, spare: ScriptedServer
) -> None:
    server.script(HANG)
    spare.script(completed("fine"))
    async with routed(more=", timeout: 1") as stub:
        first = await stub.Analyze(ASK)
        terms = pb.ModelTerms(record=pb.ReplyRecord(origin="run-1", exchanges=first.exchanges))
        again = await stub.Analyze(pb.AnalyzeRequest(instruction="What is it?", terms=terms))
    lost, answered = (exchange.call for exchange in first.exchanges)
    assert (lost.gateway, lost.model, lost.finish_reason) == ("cloud", MODEL, "no reply: MODEL_TIMEOUT")
    assert (lost.cost.unpriced_calls, lost.cost.HasField("total")) == (1, False)
    assert (answered.gateway, answered.passed_over[0].reason) == ("spare", "MODEL_TIMEOUT")
    assert again == first
    assert len(server.asked) == 1
