"""Plan documents to messages and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies

from interlock.client import Plan, parse_plan, plan_from_specs, run_request, step_spec, step_specs
from interlock.client.convert import plan_step
from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    PlanBudget,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepKind,
    SummarizeInput,
    dump_yaml,
)
from interlock.v1 import policy_pb2, step_pb2

DOCUMENT = b"""
goal: try everything
policy: {name: careful, edit_file_gate: both, run_command_gate: effect, steps_may_weaken: true, approval_timeout: 90s}
budget: {usd: 0.25, model_calls: 7}
labels: {team: core}
steps:
  - read_file: {path: src/a.py, start_line: 2, end_line: 9}
  - analyze: {instruction: what is it, context_keys: [step-1]}
  - edit_file: {path: src/a.py, new_content: ''}
    name: empty it
    gate: effect
  - run_command: {argv: [make, test], working_dir: src, timeout: 1500ms, env: {A: b}, network: ['example.org:443'],
                  allowed_exit_codes: [3]}
    retries: 2
    on_failure: continue
  - run_command: {command: echo hi}
  - edit_file: {path: b, patch: "--- a/b"}
  - summarize: {}
"""


@pytest.fixture
def plan() -> Plan:
    return parse_plan(DOCUMENT)


def test_the_whole_request(plan: Plan) -> None:
    request = run_request(plan, "ws-1", start=True)
    assert (request.goal, request.workspace_id, request.start) == ("try everything", "ws-1", True)
    assert dict(request.labels) == {"team": "core"}
    assert request.policy.name == "careful"
    assert request.policy.edit_file_gate == policy_pb2.GATE_BOTH
    assert request.policy.run_command_gate == policy_pb2.GATE_EFFECT
    assert request.policy.steps_may_weaken
    assert request.policy.approval_timeout.ToMilliseconds() == 90_000
    assert request.budget.max_cost_micros == 250_000
    assert request.budget.max_model_calls == 7
    assert [spec.input.WhichOneof("kind") for spec in request.steps] == [
        "read_file", "analyze", "edit_file", "run_command", "run_command", "edit_file", "summarize",
    ]  # fmt: skip


def test_inputs_keep_what_they_say(plan: Plan) -> None:
    read, analyze, empty, argv, shell, patch, _ = step_specs(plan)
    assert (read.input.read_file.start_line, read.input.read_file.end_line) == (2, 9)
    assert list(analyze.input.analyze.context_keys) == ["step-1"]
    assert empty.input.edit_file.WhichOneof("change") == "new_content"
    assert (empty.name, empty.gate) == ("empty it", policy_pb2.GATE_EFFECT)
    command = argv.input.run_command
    assert list(command.argv.items) == ["make", "test"]
    assert command.timeout.ToMilliseconds() == 1500
    assert (dict(command.env), list(command.network), list(command.allowed_exit_codes)) == (
        {"A": "b"}, ["example.org:443"], [3],
    )  # fmt: skip
    assert (argv.retries, argv.on_failure) == (2, step_pb2.ON_FAILURE_CONTINUE)
    assert shell.input.run_command.command == "echo hi"
    assert not shell.input.run_command.HasField("timeout")
    assert shell.gate == policy_pb2.GATE_UNSPECIFIED
    assert patch.input.edit_file.patch == "--- a/b"


def test_a_plan_survives_the_way_through_messages_and_a_file(plan: Plan) -> None:
    back = plan_from_specs(plan.goal, step_specs(plan))
    assert back.steps == plan.steps
    assert parse_plan(dump_yaml(back)).steps == plan.steps


def test_without_policy_and_budget_none_is_sent() -> None:
    request = run_request(Plan("g", (PlanStep(StepKind.SUMMARIZE, SummarizeInput()),)), "ws-1")
    assert not request.HasField("policy")
    assert not request.HasField("budget")


@pytest.mark.parametrize("budget", [PlanBudget(max_cost_micros=0), PlanBudget(max_model_calls=0)])
def test_a_budget_of_nothing_is_refused_not_lifted(budget: PlanBudget) -> None:
    plan = Plan("g", (PlanStep(StepKind.SUMMARIZE, SummarizeInput()),), budget=budget)
    with pytest.raises(InterlockError) as caught:
        run_request(plan, "ws-1")
    assert (caught.value.reason, caught.value.field) == (Reason.PLAN_INVALID, "budget")


def test_a_kind_from_the_future_is_named() -> None:
    with pytest.raises(InterlockError) as caught:
        plan_step(step_pb2.StepSpec())
    assert caught.value.reason is Reason.STEP_KIND_UNKNOWN


_text = strategies.text(max_size=30)
_keys = strategies.lists(strategies.integers(1, 99).map("step-{}".format), max_size=3).map(tuple)
_lines = strategies.integers(0, 2**31 - 1)


def _edits(path: str, field: str, text: str) -> EditFileInput:
    values: dict[str, Any] = {field: text}
    return EditFileInput(path, **values)


_inputs = strategies.one_of(
    strategies.builds(ReadFileInput, _text, _lines, _lines),
    strategies.builds(AnalyzeInput, _text, _keys),
    strategies.builds(SummarizeInput, _text, _keys),
    strategies.builds(_edits, _text, strategies.sampled_from(["new_content", "patch", "instruction"]), _text),
    strategies.builds(
        RunCommandInput,
        command=_text,
        working_dir=_text,
        timeout_ms=strategies.none() | strategies.integers(1, 86_400_000),
        env=strategies.dictionaries(_text, _text, max_size=3),
        network=strategies.lists(_text, max_size=2).map(tuple),
        allowed_exit_codes=strategies.lists(strategies.integers(0, 255), max_size=3).map(tuple),
    ),
    strategies.builds(RunCommandInput, argv=strategies.lists(_text, min_size=1, max_size=4).map(tuple)),
)
_KIND = {
    ReadFileInput: StepKind.READ_FILE,
    AnalyzeInput: StepKind.ANALYZE,
    SummarizeInput: StepKind.SUMMARIZE,
    EditFileInput: StepKind.EDIT_FILE,
    RunCommandInput: StepKind.RUN_COMMAND,
}


@given(
    given_input=_inputs,
    name=_text,
    gate=strategies.none() | strategies.sampled_from(Gate),
    retries=strategies.integers(0, 10),
    on_failure=strategies.sampled_from(OnFailure),
)
def test_any_step_survives(
    given_input: Any, name: str, gate: Gate | None, retries: int, on_failure: OnFailure
) -> None:
    step = PlanStep(_KIND[type(given_input)], given_input, name, gate, retries, on_failure)
    assert plan_step(step_spec(step)) == step
