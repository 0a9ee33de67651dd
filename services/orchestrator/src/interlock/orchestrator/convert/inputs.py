"""Requests → domain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.plan.wire import plan_rule
from interlock.common.policy.named import with_included
from interlock.orchestrator.convert import rulings
from interlock.orchestrator.convert.envelopes import grant
from interlock.orchestrator.convert.texts import externalise
from interlock.orchestrator.domain.decide_approval import Decision
from interlock.orchestrator.domain.model import (
    Budget,
    Gate,
    Group,
    OnFailure,
    Policy,
    RejectAction,
    Stage,
    StepKind,
    StepSpec,
    Verdict,
)
from interlock.orchestrator.store.records import Payload
from interlock.v1 import decision_pb2, policy_pb2, step_pb2

GATES: dict[int, Gate] = {
    policy_pb2.GATE_NONE: Gate.NONE,
    policy_pb2.GATE_COMMAND: Gate.COMMAND,
    policy_pb2.GATE_EFFECT: Gate.EFFECT,
    policy_pb2.GATE_BOTH: Gate.BOTH,
}
_REJECT_ACTIONS: dict[int, RejectAction] = {
    decision_pb2.REJECT_ACTION_FAIL_RUN: RejectAction.FAIL_RUN,
    decision_pb2.REJECT_ACTION_SKIP_STEP: RejectAction.SKIP_STEP,
    decision_pb2.REJECT_ACTION_REPLAN: RejectAction.REPLAN,
}


def specs(messages: Iterable[step_pb2.StepSpec]) -> tuple[list[StepSpec], list[Payload]]:
    """Step specifications and the long texts they refer to."""
    out, payloads = [], []
    for index, message in enumerate(messages):
        kind, fields, texts = step_input(message.input, field=f"steps[{index}].input")
        payloads += texts
        stops = message.on_failure != step_pb2.ON_FAILURE_CONTINUE
        out.append(
            StepSpec(
                kind=kind,
                input=fields,
                name=message.name,
                gate=GATES.get(message.gate),
                retries=message.retries,
                on_failure=OnFailure.STOP if stops else OnFailure.CONTINUE,
            )
        )
    return out, payloads


def step_input(message: step_pb2.StepInput, *, field: str) -> tuple[StepKind, dict[str, Any], list[Payload]]:
    """A step's kind and input object. Raises STEP_KIND_UNKNOWN, INVALID_ARGUMENT."""
    name = message.WhichOneof("kind")
    if name is None:
        raise InterlockError(Reason.STEP_KIND_UNKNOWN, "The step names no kind.", field=field)
    kind = StepKind(name)
    _check_timeout(message, field)
    fields = json_format.MessageToDict(getattr(message, name), preserving_proto_field_name=True)
    if kind is StepKind.READ_FILE:
        _check_lines(message.read_file, field)
    kept, payloads = externalise(fields)
    return kind, kept, payloads


def _check_timeout(message: step_pb2.StepInput, field: str) -> None:
    """A duration whose nanoseconds are a second or more has no JSON form; the declared rules let it pass."""
    nanos = message.run_command.timeout.nanos
    if not -1_000_000_000 < nanos < 1_000_000_000:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{nanos} nanoseconds are no part of a second.",
            field=f"{field}.run_command.timeout",
            fix="Send nanos from 0 to 999,999,999.",
        )


def _check_lines(message: step_pb2.ReadFileInput, field: str) -> None:
    if message.end_line and message.start_line > message.end_line:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The line range {message.start_line} to {message.end_line} is empty.",
            field=f"{field}.read_file.end_line",
            fix="Let start_line be at most end_line; 0 leaves an end open.",
        )


def policy(message: policy_pb2.Policy) -> Policy:
    """The rules of a run; UNSPECIFIED gates are the defaults. Raises POLICY_INVALID."""
    default = Policy()
    rules = with_included(message.include, map(plan_rule, message.rules))
    gates = (("edit_file", message.edit_file_gate), ("run_command", message.run_command_gate))
    timeout = message.approval_timeout
    return Policy(
        name=message.name or default.name,
        edit_file_gate=GATES.get(message.edit_file_gate, default.edit_file_gate),
        run_command_gate=GATES.get(message.run_command_gate, default.run_command_gate),
        steps_may_weaken=message.steps_may_weaken,
        approval_timeout_us=timeout.ToMicroseconds() if message.HasField("approval_timeout") else None,
        stages=tuple(Stage(each.name, each.quorum or 1, tuple(each.approvers)) for each in message.stages),
        groups=tuple(Group(each.name, tuple(each.subjects)) for each in message.groups),
        separate_requester=message.separate_requester,
        remind_us=message.remind_every.ToMicroseconds(),
        escalate_us=message.escalate_after.ToMicroseconds(),
        escalate_to=tuple(message.escalate_to),
        version=message.version,
        rules=tuple(rulings.rule(each) for each in rules),
        named_gates=tuple(kind for kind, gate in gates if gate),
    )


def budget(message: policy_pb2.Budget) -> Budget:
    """Bounds on spending."""
    return Budget(message.max_cost_micros, message.max_model_calls, message.unpriced_call_micros)


def decision(message: decision_pb2.Decision, *, by: Identity) -> tuple[Decision, list[Payload]]:
    """A decision and the long texts of an edit."""
    verdict = Verdict(str(message.WhichOneof("verdict")))
    action = _REJECT_ACTIONS.get(message.reject.action, RejectAction.FAIL_RUN)
    kind: StepKind | None = None
    fields: dict[str, Any] | None = None
    payloads: list[Payload] = []
    if verdict is Verdict.EDIT:
        kind, fields, payloads = step_input(message.edit.input, field="decision.edit.input")
    made = Decision(
        verdict=verdict,
        digest=message.digest,
        subject=by.subject,
        channel=message.channel,
        comment=message.comment,
        action=action,
        kind=kind,
        input=fields,
        authentication=by.authentication,
        on_behalf_of=message.on_behalf_of,
        groups=tuple(sorted(by.groups)),
        envelope=grant(message.approve.envelope) if message.approve.HasField("envelope") else None,
    )
    return made, payloads
