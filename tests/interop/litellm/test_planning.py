"""The planning suite through a real LiteLLM proxy: before a scripted server, and before the real local model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.interop.litellm.conftest import Proxy
from tests.support.litellm import MASTER_KEY
from tests.support.models import KEY
from tests.support.planning import Case, cases, check_failure, check_plan, check_record

from interlock.common.client import channel
from interlock.common.server import running
from interlock.planner.config import load
from interlock.planner.server import build_spec
from interlock.v1 import planner_pb2 as pb
from interlock.v1.planner_pb2_grpc import PlannerStub

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]  # it starts slowly

TOKEN = "litellm-test-token"
# The proxy answers 5xx where its upstream is broken, and leaves `refusal` out of a message.
BETWEEN = ("MODEL_UNAVAILABLE", "MODEL_TIMEOUT", "MODEL_REPLY_INVALID")
CASES = [case.or_else(*BETWEEN) for case in cases("openai")]


@asynccontextmanager
async def planner(tmp_path: Path, url: str, model: str, more: str = "") -> AsyncIterator[PlannerStub]:
    key, path = tmp_path / "key", tmp_path / "gateways.yaml"
    key.write_text(MASTER_KEY)
    where = f"kind: openai, base_url: '{url}/v1', model: {model}, key_file: {key}"
    path.write_text(f"gateways:\n  proxy: {{{where}, attempts: 2{more}}}\n")
    env = {"INTERLOCK_PLANNER_ADDRESS": "127.0.0.1:0", "INTERLOCK_PLANNER_GATEWAYS": str(path)}
    async with running(build_spec(load(env), TOKEN)) as address, channel(address, TOKEN) as opened:
        yield PlannerStub(opened)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_every_case_ends_in_a_plan_or_a_typed_error(tmp_path: Path, proxy: Proxy, case: Case) -> None:
    proxy.server.script(*case.answers)
    async with planner(tmp_path, proxy.url, "scripted") as stub:
        response = await case.hold(stub)
    print(f"{case.name}: {response.failure.reason or 'plan'}, {len(response.exchanges)} calls on record")
    sent = response.SerializeToString()
    assert MASTER_KEY.encode() not in sent
    assert KEY.encode() not in sent


async def test_the_price_is_the_one_that_litellm_reckons(tmp_path: Path, proxy: Proxy) -> None:
    plan = next(case for case in CASES if case.name == "plan")
    proxy.server.script(*plan.answers)
    async with planner(tmp_path, proxy.url, "scripted") as stub:
        response = await plan.hold(stub)
        told = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
    cost = response.exchanges[0].call.cost
    assert (cost.prompt_tokens, cost.completion_tokens, cost.total.micros) == (20, 10, 20 * 1 + 10 * 2)
    assert told.gateways[0].available
    assert "scripted" in told.models


async def test_the_local_model_behind_it_answers(tmp_path: Path, proxy: Proxy) -> None:
    async with planner(
        tmp_path, proxy.url, "local", ", max_prompt_chars: 6000, max_reply_tokens: 200"
    ) as stub:
        answer = await stub.Summarize(pb.SummarizeRequest(instruction="Say hello."), timeout=280)
        request = pb.PlanRequest(goal="Read a.py.", files=[pb.ContextFile(path="src/a.py")], max_steps=2)
        request.terms.failure_as_data = True
        plan = await stub.Plan(request, timeout=280)
    assert answer.text.strip()
    (exchange,) = answer.exchanges
    assert exchange.call.gateway == "proxy"
    assert exchange.call.cost.prompt_tokens > 0
    assert exchange.call.cost.total.micros > 0
    print(
        f"plan: {plan.failure.reason or 'plan'} {plan.failure.message}, {len(plan.exchanges)} calls on record"
    )
    assert plan.exchanges
    # so small a model seldom makes a plan of the whole schema: then it is said, and every call is on record
    (check_failure if plan.HasField("failure") else check_plan)(plan)
    check_record(plan)
