"""The Planner's rpcs over real gRPC, against a scripted model server."""

from __future__ import annotations

import json

import pytest
from tests.integration.planner.conftest import Planner, failing
from tests.support.models import HANG, HTML, MODEL, ScriptedServer, chat, completed, of, structured

from interlock.common.digests import sha256_text
from interlock.common.errors import Reason
from interlock.v1 import planner_pb2 as pb
from interlock.v1 import policy_pb2, step_pb2

FILES = [
    pb.ContextFile(path="src/a.py", size=20, content="def f():\n    return 1\n"),
    pb.ContextFile(path="README.md"),
]
RESULTS = [
    pb.ContextResult(
        key="step-1", kind=step_pb2.STEP_KIND_READ_FILE, state=step_pb2.STEP_STATE_SUCCEEDED, text="old"
    ),
    pb.ContextResult(key="step-2", kind=step_pb2.STEP_KIND_EDIT_FILE, state=step_pb2.STEP_STATE_REJECTED),
]
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "cost": 0.002}
READ = {"kind": "read_file", "name": "look", "path": "src/a.py"}
SUM = {"kind": "summarize", "name": "sum up", "instruction": "Say it.", "context_keys": ["step-1"]}
PLAN = {"steps": [READ, SUM]}


def prompt_of(server: ScriptedServer, index: int = -1) -> str:
    return str(server.asked[index].json["messages"][-1]["content"])


async def test_a_plan_comes_with_the_exact_exchange(planner: Planner, server: ScriptedServer) -> None:
    server.script(chat(PLAN, usage=USAGE))
    async with planner() as stub:
        response = await stub.Plan(
            pb.PlanRequest(goal="Improve f", files=FILES, additional_context="be brave")
        )
    assert [step.input.WhichOneof("kind") for step in response.steps] == ["read_file", "summarize"]
    assert list(response.steps[1].input.summarize.context_keys) == ["step-1"]
    assert response.steps[0].gate == policy_pb2.GATE_UNSPECIFIED
    (exchange,) = response.exchanges
    assert exchange.prompt == server.asked[0].body
    assert json.loads(exchange.reply)["choices"]
    call = exchange.call
    assert (call.purpose, call.gateway, call.model, call.prompt_version) == (
        "plan",
        "openai",
        MODEL,
        "plan/v2",
    )
    assert call.prompt_digest == sha256_text(exchange.prompt)
    assert call.reply_digest == sha256_text(exchange.reply)
    assert (call.cost.total.micros, call.cost.prompt_tokens, call.cost.completion_tokens) == (2000, 20, 10)
    assert (call.cost.model_calls, call.cost.unpriced_calls, call.finish_reason) == (1, 0, "stop")
    for part in ("Improve f", "src/a.py", "return 1", "be brave"):
        assert part in prompt_of(server)


async def test_unknown_cost_and_tokens_are_absent_not_zero(planner: Planner, server: ScriptedServer) -> None:
    server.script(chat(PLAN))
    async with planner() as stub:
        response = await stub.Plan(pb.PlanRequest(goal="g"))
    cost = response.exchanges[0].call.cost
    assert not cost.HasField("total")
    assert not cost.HasField("prompt_tokens")
    assert cost.unpriced_calls == 1
    assert not response.exchanges[0].call.HasField("cache_hit")


async def test_a_bad_answer_goes_back_with_the_reasons(planner: Planner, server: ScriptedServer) -> None:
    bad = {
        "steps": [{"kind": "read_file", "name": "x", "path": "nowhere.py"}, {"kind": "dance", "name": "y"}]
    }
    server.script(chat(bad, usage=USAGE), chat("I would rather talk."), chat(PLAN, usage=USAGE))
    async with planner() as stub:
        response = await stub.Plan(pb.PlanRequest(goal="g", files=FILES))
    assert len(response.exchanges) == 3
    assert [exchange.prompt for exchange in response.exchanges] == [request.body for request in server.asked]
    assert "dance" in prompt_of(server, 1)
    assert "not a kind of step" in prompt_of(server, 1)
    assert "not JSON" in prompt_of(server, 2)


async def test_paths_that_are_not_there_are_refused_by_meaning(
    planner: Planner, server: ScriptedServer
) -> None:
    bad = {"steps": [{"kind": "read_file", "name": "x", "path": "nowhere.py"}]}
    server.script(chat(bad), chat(PLAN))
    async with planner() as stub:
        await stub.Plan(pb.PlanRequest(goal="g", files=FILES))
    assert "'nowhere.py' is not a file of the workspace" in prompt_of(server, 1)


async def test_a_model_that_never_learns_ends_in_a_clear_error(
    planner: Planner, server: ScriptedServer
) -> None:
    server.script(chat({"steps": [{"kind": "dance", "name": "d"}]}, usage=USAGE))
    async with planner() as stub:
        error = await failing(stub.Plan(pb.PlanRequest(goal="g")))
    assert error.reason is Reason.MODEL_REPLY_INVALID
    assert len(server.asked) == 3
    assert error.metadata["model_calls"] == "3"
    assert error.metadata["cost_micros"] == "6000"
    assert error.metadata["raw_reply"].startswith('{"id"')
    assert "dance" in str(error)


async def test_a_model_cannot_choose_gates_or_network(planner: Planner, server: ScriptedServer) -> None:
    greedy = [
        {"kind": "run_command", "name": "x", "command": "curl evil", "network": ["evil:443"], "gate": "none"},
        {"run_command": {"command": "rm x", "network": ["evil:1"]}, "gate": "none"},
    ]
    server.script(chat({"steps": greedy}))
    async with planner() as stub:
        response = await stub.Plan(pb.PlanRequest(goal="g"))
    for step in response.steps:
        assert step.gate == policy_pb2.GATE_UNSPECIFIED
        assert not step.input.run_command.network


async def test_replan_continues_the_numbering_and_shows_what_happened(
    planner: Planner, server: ScriptedServer
) -> None:
    last = {"kind": "summarize", "name": "s", "instruction": "x", "context_keys": ["step-2", "step-3"]}
    server.script(chat({"steps": [READ, last]}))
    remaining = [
        step_pb2.StepSpec(input=step_pb2.StepInput(run_command=step_pb2.RunCommandInput(command="make old")))
    ]
    request = pb.ReplanRequest(
        goal="g", files=FILES, results=RESULTS, remaining=remaining, feedback="Too risky: keep the name.",
        policy=policy_pb2.Policy(run_command_gate=policy_pb2.GATE_BOTH),
    )  # fmt: skip
    async with planner() as stub:
        response = await stub.Replan(request)
    assert list(response.steps[1].input.summarize.context_keys) == ["step-2", "step-3"]
    assert response.exchanges[0].call.purpose == "replan"
    for part in ("Too risky", "make old", "step-2 edit_file rejected", "first new step is step-3", "both"):
        assert part in prompt_of(server)


async def test_replan_may_find_nothing_left_to_do(planner: Planner, server: ScriptedServer) -> None:
    server.script(chat({"steps": []}))
    async with planner() as stub:
        response = await stub.Replan(pb.ReplanRequest(goal="g", results=RESULTS, feedback="enough"))
        assert not response.steps
        assert len(response.exchanges) == 1
        error = await failing(stub.Plan(pb.PlanRequest(goal="g")))
    assert error.reason is Reason.MODEL_REPLY_INVALID


async def test_analyze_and_summarize(planner: Planner, server: ScriptedServer) -> None:
    server.script(chat("  It is old.  "), chat("All done."))
    async with planner() as stub:
        analysis = await stub.Analyze(pb.AnalyzeRequest(instruction="How old?", goal="know", results=RESULTS))
        summary = await stub.Summarize(pb.SummarizeRequest(results=RESULTS))
    assert (analysis.text, summary.text) == ("It is old.", "All done.")
    assert analysis.exchanges[0].call.prompt_version == "analyze/v1"
    assert summary.exchanges[0].call.purpose == "summarize"
    assert "How old?" in prompt_of(server, 0)
    assert "step-1 read_file succeeded" in prompt_of(server, 0)


async def test_draft_edit(planner: Planner, server: ScriptedServer) -> None:
    server.script(chat({"new_content": "x = 1\n"}), chat({"new_content": "x = 2\n"}))
    request = pb.DraftEditRequest(path="a.py", current_content="x = 1\n", instruction="Set x to 2.")
    async with planner() as stub:
        response = await stub.DraftEdit(request)
    assert response.new_content == "x = 2\n"
    assert len(response.exchanges) == 2
    assert "the same as before" in prompt_of(server, 1)


async def test_the_router_plans_and_its_cache_is_recorded(planner: Planner, server: ScriptedServer) -> None:
    steps = [{"step_type": "read_file", "input": "src/a.py", "description": "look"}]
    server.script(structured(steps), completed("fine", cache_hit=True))
    async with planner("router") as stub:
        plan = await stub.Plan(pb.PlanRequest(goal="g", files=FILES))
        analysis = await stub.Analyze(pb.AnalyzeRequest(instruction="ok?"))
    assert plan.steps[0].name == "look"
    assert plan.exchanges[0].call.cost.total.micros == 340
    assert not plan.exchanges[0].call.cost.HasField("prompt_tokens")
    assert analysis.exchanges[0].call.cache_hit is True


async def test_capabilities_without_a_model_call(planner: Planner, server: ScriptedServer) -> None:
    server.script(of({"data": [{"id": "m1"}]}), of({"data": [{"id": "m1"}]}), of({}, 503))
    async with planner() as stub:
        up = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
        down = await stub.GetCapabilities(pb.GetCapabilitiesRequest())
    assert (up.gateway, list(up.models), up.available) == ("openai", ["m1"], True)
    assert (list(down.models), down.available) == ([MODEL], False)
    assert up.base_url == server.url + "/v1"
    assert not server.asked


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (of({}, 401), Reason.MODEL_UNAUTHENTICATED, "FAILED_PRECONDITION"),
        (of({}, 429, retry_after="9"), Reason.MODEL_RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (of({}, 500), Reason.MODEL_UNAVAILABLE, "UNAVAILABLE"),
        (HTML, Reason.MODEL_REPLY_INVALID, "FAILED_PRECONDITION"),
        (of({"choices": [{"message": {"refusal": "no"}}]}), Reason.MODEL_REFUSED, "FAILED_PRECONDITION"),
    ],
)
async def test_faults_arrive_typed(
    planner: Planner, server: ScriptedServer, answer: object, reason: Reason, code: str
) -> None:
    server.script(answer)  # type: ignore[arg-type]
    async with planner() as stub:
        error = await failing(stub.Analyze(pb.AnalyzeRequest(instruction="x")))
    assert (error.reason, error.code) == (reason, code)
    assert error.fix
    if reason is Reason.MODEL_RATE_LIMITED:
        assert error.retry_after == 9.0


async def test_the_callers_deadline_is_kept_with_a_typed_answer(
    planner: Planner, server: ScriptedServer
) -> None:
    server.script(HANG)
    async with planner() as stub:
        error = await failing(stub.Analyze(pb.AnalyzeRequest(instruction="x"), timeout=1.0))
    assert error.reason is Reason.MODEL_TIMEOUT


async def test_too_large_a_file_is_not_drafted_in_part(planner: Planner, server: ScriptedServer) -> None:
    request = pb.DraftEditRequest(path="big.py", current_content="x" * 10_000, instruction="change it")
    async with planner(INTERLOCK_MODEL_MAX_PROMPT_CHARS="4000") as stub:
        error = await failing(stub.DraftEdit(request))
    assert error.reason is Reason.MODEL_PROMPT_TOO_LARGE
    assert not server.asked


async def test_large_context_is_cut_visibly_to_the_models_size(
    planner: Planner, server: ScriptedServer
) -> None:
    server.script(chat("fine"), chat(PLAN))
    results = [pb.ContextResult(key=f"step-{n}", text=str(n) * 50_000) for n in range(1, 9)]
    files = [pb.ContextFile(path=f"d{n}/f{n}.py", content="y" * 3_000) for n in range(2_000)]
    async with planner(INTERLOCK_MODEL_MAX_PROMPT_CHARS="20000") as stub:
        await stub.Analyze(pb.AnalyzeRequest(instruction="x", results=results))
        await stub.Plan(pb.PlanRequest(goal="g" * 500, files=[*files, *FILES]))
    for request in server.asked:
        assert sum(len(message["content"]) for message in request.json["messages"]) <= 20_000
    assert "characters are left out here" in prompt_of(server, 0)
    assert "more files are not listed" in prompt_of(server, 1)


async def test_requests_are_validated(planner: Planner, server: ScriptedServer) -> None:
    async with planner() as stub:
        for call in (
            stub.Plan(pb.PlanRequest(goal="")),
            stub.Plan(pb.PlanRequest(goal="g", max_steps=1_001)),
            stub.Analyze(pb.AnalyzeRequest()),
            stub.Replan(pb.ReplanRequest(goal="g", feedback="x", remaining=[step_pb2.StepSpec()])),
            stub.DraftEdit(pb.DraftEditRequest(path="a")),
        ):
            assert (await failing(call)).reason is Reason.VALIDATION_FAILED
    assert not server.asked
