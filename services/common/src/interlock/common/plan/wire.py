"""Steps and policies of a plan ⇄ messages of ``interlock.v1``. The rest of the package needs no protobuf."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.model import (
    AnalyzeInput,
    EditFileInput,
    Gate,
    OnFailure,
    PlanPolicy,
    PlanRule,
    PlanStage,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepInput,
    StepKind,
    SummarizeInput,
)
from interlock.v1 import policy_pb2, step_pb2

_GATES = {
    None: policy_pb2.GATE_UNSPECIFIED,
    Gate.NONE: policy_pb2.GATE_NONE,
    Gate.COMMAND: policy_pb2.GATE_COMMAND,
    Gate.EFFECT: policy_pb2.GATE_EFFECT,
    Gate.BOTH: policy_pb2.GATE_BOTH,
}
_PLAN_GATES = {number: gate for gate, number in _GATES.items()}
_ON_FAILURE = {
    OnFailure.STOP: step_pb2.ON_FAILURE_STOP,
    OnFailure.CONTINUE: step_pb2.ON_FAILURE_CONTINUE,
}


def step_spec(step: PlanStep) -> step_pb2.StepSpec:
    """The message of a step."""
    return step_pb2.StepSpec(
        input=step_input(step.input),
        name=step.name,
        gate=_GATES[step.gate],
        retries=step.retries,
        on_failure=_ON_FAILURE[step.on_failure],
    )


def plan_step(spec: step_pb2.StepSpec) -> PlanStep:
    """The step of a message that has passed the rules of the protos. Raises STEP_KIND_UNKNOWN."""
    kind = spec.input.WhichOneof("kind")
    if kind is None:
        raise InterlockError(Reason.STEP_KIND_UNKNOWN, "The step names no kind.", field="input.kind")
    stays = spec.on_failure == step_pb2.ON_FAILURE_CONTINUE
    return PlanStep(
        kind=StepKind(kind),
        input=plan_input(spec.input),
        name=spec.name,
        gate=_PLAN_GATES.get(spec.gate),
        retries=spec.retries,
        on_failure=OnFailure.CONTINUE if stays else OnFailure.STOP,
    )


def step_input(given: StepInput) -> step_pb2.StepInput:
    """The message of a step's input."""
    match given:
        case ReadFileInput(path, first, last):
            read = step_pb2.ReadFileInput(path=path, start_line=first, end_line=last)
            return step_pb2.StepInput(read_file=read)
        case AnalyzeInput(text, keys):
            return step_pb2.StepInput(analyze=step_pb2.AnalyzeInput(instruction=text, context_keys=keys))
        case SummarizeInput(text, keys):
            return step_pb2.StepInput(summarize=step_pb2.SummarizeInput(instruction=text, context_keys=keys))
        case EditFileInput():
            return step_pb2.StepInput(edit_file=_edit_message(given))
        case RunCommandInput():
            return step_pb2.StepInput(run_command=_command_message(given))


def plan_input(message: step_pb2.StepInput) -> StepInput:
    """The input of a message. Raises STEP_KIND_UNKNOWN when none is set."""
    match message.WhichOneof("kind"):
        case "read_file":
            read = message.read_file
            return ReadFileInput(read.path, read.start_line, read.end_line)
        case "analyze":
            return AnalyzeInput(message.analyze.instruction, tuple(message.analyze.context_keys))
        case "summarize":
            return SummarizeInput(message.summarize.instruction, tuple(message.summarize.context_keys))
        case "edit_file":
            change = message.edit_file.WhichOneof("change")
            given = {change: getattr(message.edit_file, change)} if change else {}
            return EditFileInput(message.edit_file.path, **given)
        case "run_command":
            return _plan_command(message.run_command)
        case _:
            raise InterlockError(Reason.STEP_KIND_UNKNOWN, "The step names no kind.", field="kind")


def policy_message(policy: PlanPolicy) -> policy_pb2.Policy:
    """The message of a policy."""
    message = policy_pb2.Policy(
        name=policy.name,
        edit_file_gate=_GATES[policy.edit_file_gate],
        run_command_gate=_GATES[policy.run_command_gate],
        steps_may_weaken=policy.steps_may_weaken,
        stages=_stages(policy.stages),
        groups=[
            policy_pb2.ApprovalGroup(name=name, subjects=people) for name, people in policy.groups.items()
        ],
        separate_requester=policy.separate_requester,
        escalate_to=policy.escalate_to,
        version=policy.version,
        rules=[rule_message(each) for each in policy.rules],
        include=policy.include,
    )
    if policy.remind_every_ms is not None:
        message.remind_every.CopyFrom(_duration(policy.remind_every_ms))
    if policy.escalate_after_ms is not None:
        message.escalate_after.CopyFrom(_duration(policy.escalate_after_ms))
    if policy.approval_timeout_ms is not None:
        message.approval_timeout.CopyFrom(_duration(policy.approval_timeout_ms))
    return message


def rule_message(rule: PlanRule) -> policy_pb2.PolicyRule:
    """The message of a rule."""
    return policy_pb2.PolicyRule(
        name=rule.name,
        effect=policy_pb2.RuleEffect.Value(f"RULE_EFFECT_{rule.effect.upper()}"),
        when=rule.when,
        reason=rule.reason,
        gate=_GATES[Gate(rule.gate) if rule.gate else None],
        stages=_stages(rule.stages),
        separate_requester=rule.separate_requester,
        always=rule.always,
        network=rule.network,
    )


def plan_rule(message: policy_pb2.PolicyRule) -> PlanRule:
    """The rule of a message that has passed the rules of the protos."""
    gate = _PLAN_GATES.get(message.gate)
    return PlanRule(
        name=message.name,
        effect=policy_pb2.RuleEffect.Name(message.effect).removeprefix("RULE_EFFECT_").lower(),
        when=message.when,
        reason=message.reason,
        gate=gate.value if gate else "",
        stages=_plan_stages(message.stages),
        separate_requester=message.separate_requester,
        always=message.always,
        network=message.network,
    )


def _stages(stages: Iterable[PlanStage]) -> list[policy_pb2.ApprovalStage]:
    return [
        policy_pb2.ApprovalStage(name=each.name, quorum=each.quorum, approvers=each.approvers)
        for each in stages
    ]


def _plan_stages(messages: Iterable[policy_pb2.ApprovalStage]) -> tuple[PlanStage, ...]:
    return tuple(PlanStage(each.name, each.quorum or 1, tuple(each.approvers)) for each in messages)


def plan_policy(message: policy_pb2.Policy) -> PlanPolicy:
    """The policy of a message."""
    timed = message.HasField("approval_timeout")
    return PlanPolicy(
        name=message.name,
        edit_file_gate=_PLAN_GATES.get(message.edit_file_gate),
        run_command_gate=_PLAN_GATES.get(message.run_command_gate),
        steps_may_weaken=message.steps_may_weaken,
        approval_timeout_ms=message.approval_timeout.ToMilliseconds() if timed else None,
        stages=_plan_stages(message.stages),
        groups={each.name: tuple(each.subjects) for each in message.groups},
        separate_requester=message.separate_requester,
        remind_every_ms=message.remind_every.ToMilliseconds() or None,
        escalate_after_ms=message.escalate_after.ToMilliseconds() or None,
        escalate_to=tuple(message.escalate_to),
        version=message.version,
        rules=tuple(plan_rule(each) for each in message.rules),
        include=tuple(message.include),
    )


def _edit_message(given: EditFileInput) -> step_pb2.EditFileInput:
    message = step_pb2.EditFileInput(path=given.path)
    if given.new_content is not None:
        message.new_content = given.new_content  # empty text is a change too: it empties the file
    elif given.patch is not None:
        message.patch = given.patch
    elif given.instruction is not None:
        message.instruction = given.instruction
    return message


def _command_message(given: RunCommandInput) -> step_pb2.RunCommandInput:
    message = step_pb2.RunCommandInput(
        working_dir=given.working_dir,
        env=dict(given.env),
        network=given.network,
        allowed_exit_codes=given.allowed_exit_codes,
        secrets=[step_pb2.SecretUse(name=name, appears_as=place) for place, name in given.secrets.items()],
    )
    if given.command is not None:
        message.command = given.command
    if given.argv is not None:
        message.argv.items.extend(given.argv)
    if given.timeout_ms is not None:
        message.timeout.CopyFrom(_duration(given.timeout_ms))
    return message


def _plan_command(message: step_pb2.RunCommandInput) -> RunCommandInput:
    program = message.WhichOneof("program")
    return RunCommandInput(
        command=message.command if program == "command" else None,
        argv=tuple(message.argv.items) if program == "argv" else None,
        working_dir=message.working_dir,
        timeout_ms=message.timeout.ToMilliseconds() if message.HasField("timeout") else None,
        env=dict(message.env),
        network=tuple(message.network),
        allowed_exit_codes=tuple(message.allowed_exit_codes),
        secrets={use.appears_as: use.name for use in message.secrets},
    )


def _duration(milliseconds: int) -> Duration:
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
