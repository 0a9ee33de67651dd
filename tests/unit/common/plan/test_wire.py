from __future__ import annotations

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    PlanPolicy,
    PlanStage,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepInput,
    StepKind,
    SummarizeInput,
)
from interlock.common.plan.wire import plan_input, plan_policy, plan_step, policy_message, step_spec
from interlock.v1 import step_pb2

INPUTS: list[tuple[StepKind, StepInput]] = [
    (StepKind.READ_FILE, ReadFileInput("a", 1, 2)),
    (StepKind.ANALYZE, AnalyzeInput("x", ("step-1",))),
    (StepKind.SUMMARIZE, SummarizeInput()),
    (StepKind.EDIT_FILE, EditFileInput("a", new_content="")),
    (StepKind.EDIT_FILE, EditFileInput("a", patch="p")),
    (StepKind.EDIT_FILE, EditFileInput("a", instruction="i")),
    (StepKind.RUN_COMMAND, RunCommandInput(command="x")),
    (
        StepKind.RUN_COMMAND,
        RunCommandInput(
            argv=("a", ""),
            working_dir="d",
            timeout_ms=1_500,
            env={"A": "b"},
            network=("h:1",),
            allowed_exit_codes=(3,),
            secrets={"TOKEN": "deploy-token", "/run/secrets/key": "k"},
        ),
    ),
]


@pytest.mark.parametrize(("kind", "chosen"), INPUTS)
@pytest.mark.parametrize("gate", [None, *Gate])
def test_a_step_survives_the_wire(kind: StepKind, chosen: StepInput, gate: Gate | None) -> None:
    step = PlanStep(kind, chosen, "name", gate, 3, OnFailure.CONTINUE)
    sent = step_pb2.StepSpec.FromString(step_spec(step).SerializeToString())
    assert plan_step(sent) == step


def test_defaults_survive_too() -> None:
    step = PlanStep(StepKind.SUMMARIZE, SummarizeInput("x"))
    assert plan_step(step_spec(step)) == step
    assert plan_step(step_pb2.StepSpec(input=step_spec(step).input)) == step


@pytest.mark.parametrize(
    "policy",
    [
        PlanPolicy(),
        PlanPolicy("p", Gate.NONE, Gate.BOTH, True, 90_500),
        PlanPolicy(approval_timeout_ms=1_000),
        PlanPolicy(
            stages=(PlanStage("team", 2, ("group:core", "eve")), PlanStage()),
            groups={"core": ("ada", "bob")},
            separate_requester=True,
        ),
    ],
)
def test_a_policy_survives_the_wire(policy: PlanPolicy) -> None:
    assert plan_policy(policy_message(policy)) == policy


def test_a_message_without_a_kind_is_refused() -> None:
    for convert, message in ((plan_step, step_pb2.StepSpec()), (plan_input, step_pb2.StepInput())):
        with pytest.raises(InterlockError) as caught:
            convert(message)  # type: ignore[operator]
        assert caught.value.reason is Reason.STEP_KIND_UNKNOWN
