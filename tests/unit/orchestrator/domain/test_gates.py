"""Which gate is in force, and who may weaken it."""

from __future__ import annotations

import pytest
from tests.support.driven_run import drafted, spec

from interlock.common import gates
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.gates import check_gate, default_gate, effective_gate
from interlock.orchestrator.domain.model import Gate, Policy, StepKind

KINDS = [kind.value for kind in StepKind]
GATES = [gate.value for gate in Gate]
NETWORK = ["example.org:443"]


def test_the_defaults_of_the_kinds() -> None:
    found = {kind.value: default_gate(kind, Policy()).value for kind in StepKind}
    assert found == {
        "read_file": "none",
        "analyze": "none",
        "summarize": "none",
        "edit_file": "effect",
        "run_command": "command",
    }


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("kind", ["read_file", "analyze", "summarize"])
def test_what_changes_nothing_never_waits(kind: str, gate: str) -> None:
    assert effective_gate(spec(kind, gate), Policy()) is Gate.NONE
    check_gate(spec(kind, gate), Policy(), index=0, number=1)


@pytest.mark.parametrize("asked", [None, *GATES])
def test_an_edit_waits_with_its_diff_or_not_at_all(asked: str | None) -> None:
    for step in (spec("edit_file", asked), drafted(gate=asked)):
        assert effective_gate(step, Policy()) is (Gate.NONE if asked == "none" else Gate.EFFECT)


@pytest.mark.parametrize("policy", GATES)
@pytest.mark.parametrize("asked", [None, *GATES])
@pytest.mark.parametrize("network", [[], NETWORK])
def test_a_command_with_network_is_never_previewed(
    policy: str, asked: str | None, network: list[str]
) -> None:
    step = spec("run_command", asked, command="x", network=network)
    wanted = Gate(asked or policy)
    expected = Gate.COMMAND if network and asked != "none" else wanted
    assert effective_gate(step, Policy(run_command_gate=Gate(policy))) is expected


_WEAKER = {("command", "none"), ("effect", "none"), ("both", "none"), ("both", "command"), ("both", "effect")}


@pytest.mark.parametrize("policy", GATES)
@pytest.mark.parametrize("asked", [None, *GATES])
@pytest.mark.parametrize("kind", ["edit_file", "run_command"])
@pytest.mark.parametrize("may", [False, True])
def test_weakening(policy: str, asked: str | None, kind: str, may: bool) -> None:
    rules = Policy(edit_file_gate=Gate(policy), run_command_gate=Gate(policy), steps_may_weaken=may)
    if (policy, asked) in _WEAKER and not may:
        with pytest.raises(InterlockError) as refused:
            check_gate(spec(kind, asked), rules, index=3, number=9)
        assert refused.value.reason is Reason.INVALID_ARGUMENT
        assert refused.value.field == "steps[3].gate"
        assert refused.value.message.startswith("Step 9 asks for the gate")
    else:
        check_gate(spec(kind, asked), rules, index=3, number=9)


@pytest.mark.parametrize("policy", GATES)
def test_a_policy_that_opens_commands_does_not_open_those_with_network(policy: str) -> None:
    step = spec("run_command", "none", command="x", network=NETWORK)
    with pytest.raises(InterlockError) as refused:
        check_gate(step, Policy(run_command_gate=Gate(policy)), index=0, number=1)
    assert refused.value.field == "steps[0].gate"
    check_gate(step, Policy(run_command_gate=Gate(policy), steps_may_weaken=True), index=0, number=1)


def test_the_defaults_are_those_that_a_plan_is_checked_against() -> None:
    rules = Policy()
    assert (rules.name, rules.edit_file_gate.value, rules.run_command_gate.value) == (
        gates.POLICY,
        gates.EDIT_FILE,
        gates.RUN_COMMAND,
    )
