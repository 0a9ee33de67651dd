"""Runs, steps and approvals to the shapes of the REST facade, and inputs back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.transcode.request import to_message
from interlock.v1 import agent_run_pb2 as pb
from interlock.v1 import cost_pb2, decision_pb2, policy_pb2, run_pb2, step_pb2

_DOLLAR = 1_000_000
_INT32 = 2**31 - 1


def state_word(enum: Any, value: int) -> str:
    """`STEP_STATE_AWAITING_APPROVAL` as `awaiting_approval`."""
    prefix = {"RunState": "RUN_STATE_", "StepState": "STEP_STATE_", "StepKind": "STEP_KIND_"}
    return str(enum.Name(value)).removeprefix(prefix[enum.DESCRIPTOR.name]).lower()


def agent_run(run: run_pb2.Run, path: str, pending: Mapping[int, decision_pb2.ApprovalRecord]) -> pb.AgentRun:
    """A run; `pending` holds the approvals that its steps wait for, with their previews."""
    made = pb.AgentRun(
        id=run.run_id,
        goal=run.goal,
        status=state_word(run_pb2.RunState, run.state),
        workspace_path=path,
        workspace_id=run.workspace_id,
        steps=[agent_step(step, pending.get(step.number), run.policy) for step in run.steps],
        error=run.failure.message,
        labels=run.labels,
    )
    made.created_at.CopyFrom(run.created_at)
    made.updated_at.CopyFrom(run.updated_at)
    return made


def agent_step(
    step: step_pb2.Step,
    pending: decision_pb2.ApprovalRecord | None = None,
    policy: policy_pb2.Policy | None = None,
) -> pb.AgentStep:
    """A step, with the approval it waits for, if it does; `policy`: its run's, where that is not the default one."""
    kind, given = _input(step.spec.input)
    made = pb.AgentStep(
        id=f"step-{step.number}",
        step_number=step.number,
        step_type=kind,
        status=state_word(step_pb2.StepState, step.state),
        input=given,
        error=step.failure.message,
        requires_approval=_gate(step, kind, policy or policy_pb2.Policy()) != policy_pb2.GATE_NONE,
        approval_id=step.approval_id,
    )
    if pending is not None:
        made.digest = pending.digest
        made.result.CopyFrom(_result(pending.preview, ""))
    elif step.HasField("effect") or step.reply:
        made.result.CopyFrom(_result(step.effect, step.reply))
    return made


def _gate(step: step_pb2.Step, kind: str, policy: policy_pb2.Policy) -> int:
    """The gate in force; before the step has begun, the one it will have."""
    if step.state != step_pb2.STEP_STATE_PENDING:
        return step.gate
    if step.spec.gate:
        return step.spec.gate
    by_kind = {
        "edit_file": policy.edit_file_gate or policy_pb2.GATE_EFFECT,
        "run_command": policy.run_command_gate or policy_pb2.GATE_COMMAND,
    }
    return by_kind.get(kind, policy_pb2.GATE_NONE)


def _result(effect: step_pb2.Effect, reply: str) -> pb.AgentStepResult:
    made = pb.AgentStepResult(
        content=reply or _text(effect.content),
        diff=effect.diff,
        changed_paths=[change.path for change in effect.changes],
        stdout=_text(effect.stdout),
        stderr=_text(effect.stderr),
        argv=effect.argv,
        truncated=effect.diff_truncated
        or effect.changes_total > len(effect.changes)
        or any(each.truncated for each in (effect.content, effect.stdout, effect.stderr)),
    )
    if effect.HasField("exit_code"):
        made.exit_code = effect.exit_code
    return made


def _text(output: step_pb2.Output) -> str:
    gap = b"\n[...]\n" if output.truncated else b""
    return (output.head + gap + output.tail).decode("utf-8", "replace")


def _input(given: step_pb2.StepInput) -> tuple[str, Struct]:
    kind = given.WhichOneof("kind") or ""
    made = Struct()
    if kind:
        made.update(json_format.MessageToDict(getattr(given, kind), preserving_proto_field_name=True))
    return kind, made


def step_spec(step_type: str, given: Struct) -> step_pb2.StepSpec:
    """What a caller asks for. Raises STEP_KIND_UNKNOWN, or INVALID_ARGUMENT naming the field of the input."""
    kinds = step_pb2.StepInput.DESCRIPTOR.oneofs_by_name["kind"].fields
    if step_type not in {field.name for field in kinds}:
        raise InterlockError(
            Reason.STEP_KIND_UNKNOWN, f"There is no step type {step_type[:40]!r}.", field="step_type"
        )
    made = step_pb2.StepInput()
    chosen = getattr(made, step_type)
    # Also when nothing is given: the kind is chosen then too.
    chosen.SetInParent()
    to_message(json_format.MessageToDict(given), chosen, "input")
    return step_pb2.StepSpec(input=made)


def plan_step(spec: step_pb2.StepSpec) -> pb.AgentPlanStep:
    """A step of a plan."""
    kind, given = _input(spec.input)
    return pb.AgentPlanStep(step_type=kind, input=given, name=spec.name)


def step_number(step_id: str) -> int:
    """`step-2` or `2`."""
    return int(step_id.removeprefix("step-"))


def tokens(cost: cost_pb2.Cost) -> pb.AgentTokens:
    """What was reported; what was not counts as none."""
    return pb.AgentTokens(
        prompt=min(cost.prompt_tokens, _INT32), completion=min(cost.completion_tokens, _INT32)
    )


def dollars(cost: cost_pb2.Cost) -> float:
    """Micro-dollars as dollars."""
    return cost.total.micros / _DOLLAR


def step_cost(step: int, kind: int, cost: cost_pb2.Cost) -> pb.AgentStepCost:
    """Step 0 is the making of the plan."""
    return pb.AgentStepCost(
        step_id=f"step-{step}" if step else "plan",
        step_type=state_word(step_pb2.StepKind, kind) if step else "",
        cost=dollars(cost),
        tokens=tokens(cost),
    )
