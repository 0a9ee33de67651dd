"""The facade's memory and its shapes."""

from __future__ import annotations

import pytest
from google.protobuf.struct_pb2 import Struct

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.rest import convert
from interlock.gateway.rest.seen import Seen
from interlock.v1 import cost_pb2, policy_pb2, run_pb2, step_pb2


def test_what_was_shown_belongs_to_a_credential_a_run_and_a_step() -> None:
    seen = Seen()
    seen.note("Bearer a", "run-1", 1, "sha256:1")
    seen.note("Bearer a", "run-1", 1, "sha256:2")
    assert seen.last("Bearer a", "run-1", 1) == "sha256:2"
    assert [
        seen.last(*other)
        for other in (("Bearer b", "run-1", 1), ("Bearer a", "run-2", 1), ("Bearer a", "run-1", 2))
    ] == ["", "", ""]
    assert "Bearer" not in repr(seen._digests)


def test_the_oldest_is_forgotten() -> None:
    seen = Seen(most=2)
    for number in (1, 2, 1, 3):
        seen.note("a", "run", number, f"sha256:{number}")
    assert [seen.last("a", "run", number) for number in (1, 2, 3)] == ["sha256:1", "", "sha256:3"]


def test_every_state_is_a_lower_case_word() -> None:
    words = [convert.state_word(run_pb2.RunState, value) for value in run_pb2.RunState.values()]
    words += [convert.state_word(step_pb2.StepState, value) for value in step_pb2.StepState.values()]
    assert all(word == word.lower() and "state" not in word for word in words)
    assert "awaiting_approval" in words


@pytest.mark.parametrize("kind", ["read_file", "analyze", "edit_file", "run_command", "summarize"])
def test_an_input_is_what_was_given(kind: str) -> None:
    inputs = {
        "read_file": {"path": "a", "start_line": 2},
        "analyze": {"instruction": "why", "context_keys": ["step-1"]},
        "edit_file": {"path": "a", "patch": "x"},
        "run_command": {"command": "ls", "working_dir": "src"},
        "summarize": {"instruction": "all"},
    }
    given = Struct()
    given.update(inputs[kind])
    step = step_pb2.Step(number=3, spec=convert.step_spec(kind, given), state=step_pb2.STEP_STATE_PENDING)
    shown = convert.agent_step(step)
    assert (shown.id, shown.step_type, shown.status) == ("step-3", kind, "pending")
    assert dict(shown.input) == {
        **inputs[kind],
        **({"context_keys": shown.input["context_keys"]} if kind == "analyze" else {}),
    }
    assert shown.requires_approval == (kind in ("edit_file", "run_command"))
    free = policy_pb2.Policy(edit_file_gate=policy_pb2.GATE_NONE, run_command_gate=policy_pb2.GATE_NONE)
    assert not convert.agent_step(step, policy=free).requires_approval


def test_another_kind_is_refused() -> None:
    with pytest.raises(InterlockError) as caught:
        convert.step_spec("kind", Struct())
    assert caught.value.reason is Reason.STEP_KIND_UNKNOWN


def test_output_that_was_cut_says_so() -> None:
    output = step_pb2.Output(head=b"first\xff", tail=b"last", truncated=True)
    step = step_pb2.Step(effect=step_pb2.Effect(stdout=output, exit_code=3))
    result = convert.agent_step(step).result
    assert (result.stdout, result.truncated, result.exit_code) == ("first�\n[...]\nlast", True, 3)


def test_money_is_dollars() -> None:
    cost = cost_pb2.Cost(total=cost_pb2.Money(micros=1_250_000), prompt_tokens=2**40, completion_tokens=2)
    made = convert.step_cost(0, 0, cost)
    assert (made.step_id, made.step_type, made.cost) == ("plan", "", 1.25)
    assert (made.tokens.prompt, made.tokens.completion) == (2**31 - 1, 2)
