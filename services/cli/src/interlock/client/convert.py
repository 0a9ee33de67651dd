"""Plan documents to messages and back; the only module that knows both."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from interlock.common import plan as doc
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import policy_pb2, step_pb2
from interlock.v1.orchestrator_pb2 import CreateRunRequest

_GATES = {
    None: policy_pb2.GATE_UNSPECIFIED,
    doc.Gate.NONE: policy_pb2.GATE_NONE,
    doc.Gate.COMMAND: policy_pb2.GATE_COMMAND,
    doc.Gate.EFFECT: policy_pb2.GATE_EFFECT,
    doc.Gate.BOTH: policy_pb2.GATE_BOTH,
}
_DOC_GATES = {number: gate for gate, number in _GATES.items()}
_ON_FAILURE = {
    doc.OnFailure.STOP: step_pb2.ON_FAILURE_STOP,
    doc.OnFailure.CONTINUE: step_pb2.ON_FAILURE_CONTINUE,
}


def run_request(plan: doc.Plan, workspace_id: str, *, start: bool = False) -> CreateRunRequest:
    """The request that makes a run of a plan; its `request_id` is still empty."""
    return CreateRunRequest(
        goal=plan.goal,
        workspace_id=workspace_id,
        steps=step_specs(plan),
        policy=None if plan.policy is None else policy(plan.policy),
        budget=None if plan.budget is None else budget(plan.budget),
        labels=dict(plan.labels),
        start=start,
    )


def step_specs(plan: doc.Plan) -> list[step_pb2.StepSpec]:
    """All steps of a plan."""
    return [step_spec(step) for step in plan.steps]


def step_spec(step: doc.PlanStep) -> step_pb2.StepSpec:
    """One step."""
    return step_pb2.StepSpec(
        input=step_input(step.input),
        name=step.name,
        gate=_GATES[step.gate],
        retries=step.retries,
        on_failure=_ON_FAILURE[step.on_failure],
    )


def step_input(given: doc.StepInput) -> step_pb2.StepInput:
    """The input of one step."""
    match given:
        case doc.ReadFileInput(path, first, last):
            read = step_pb2.ReadFileInput(path=path, start_line=first, end_line=last)
            return step_pb2.StepInput(read_file=read)
        case doc.AnalyzeInput(text, keys):
            return step_pb2.StepInput(analyze=step_pb2.AnalyzeInput(instruction=text, context_keys=keys))
        case doc.SummarizeInput(text, keys):
            return step_pb2.StepInput(summarize=step_pb2.SummarizeInput(instruction=text, context_keys=keys))
        case doc.EditFileInput():
            return step_pb2.StepInput(edit_file=_edit(given))
        case doc.RunCommandInput():
            return step_pb2.StepInput(run_command=_command(given))


def _edit(given: doc.EditFileInput) -> step_pb2.EditFileInput:
    edit = step_pb2.EditFileInput(path=given.path)
    for change in ("new_content", "patch", "instruction"):
        if (value := getattr(given, change)) is not None:
            setattr(edit, change, value)  # an empty new_content empties the file
    return edit


def _command(given: doc.RunCommandInput) -> step_pb2.RunCommandInput:
    command = step_pb2.RunCommandInput(
        working_dir=given.working_dir,
        env=dict(given.env),
        timeout=_duration(given.timeout_ms),
        network=given.network,
        allowed_exit_codes=given.allowed_exit_codes,
    )
    if given.command is not None:
        command.command = given.command
    else:
        command.argv.items.extend(given.argv or ())
    return command


def policy(given: doc.PlanPolicy) -> policy_pb2.Policy:
    """The gates of a run."""
    return policy_pb2.Policy(
        name=given.name,
        edit_file_gate=_GATES[given.edit_file_gate],
        run_command_gate=_GATES[given.run_command_gate],
        steps_may_weaken=given.steps_may_weaken,
        approval_timeout=_duration(given.approval_timeout_ms),
    )


def budget(given: doc.PlanBudget) -> policy_pb2.Budget:
    """What a run may spend. No limit is 0 in the message, so a limit of nothing at all cannot be said."""
    if given.max_cost_micros == 0 or given.max_model_calls == 0:
        raise InterlockError(
            Reason.PLAN_INVALID,
            "A budget of zero cannot be kept: a run without a limit is written the same way.",
            field="budget",
            fix="Leave the budget out, or set it to at least 0.000001 dollars or one model call.",
        )
    return policy_pb2.Budget(
        max_cost_micros=given.max_cost_micros or 0, max_model_calls=given.max_model_calls or 0
    )


def plan_from_specs(goal: str, specs: Iterable[step_pb2.StepSpec]) -> doc.Plan:
    """The plan that steps make up, for writing it down with `interlock.common.plan.dump_yaml`."""
    return doc.Plan(goal=goal, steps=tuple(plan_step(spec) for spec in specs))


def plan_step(spec: step_pb2.StepSpec) -> doc.PlanStep:
    """The inverse of `step_spec`. Raises STEP_KIND_UNKNOWN for a kind this version does not know."""
    kind = spec.input.WhichOneof("kind")
    if kind is None:
        raise InterlockError(Reason.STEP_KIND_UNKNOWN, "The step's kind is not one this version knows.")
    proceed = spec.on_failure == step_pb2.ON_FAILURE_CONTINUE
    return doc.PlanStep(
        kind=doc.StepKind(kind),
        input=_doc_input(spec.input, kind),
        name=spec.name,
        gate=_DOC_GATES.get(spec.gate),
        retries=spec.retries,
        on_failure=doc.OnFailure.CONTINUE if proceed else doc.OnFailure.STOP,
    )


def _doc_input(given: step_pb2.StepInput, kind: str) -> doc.StepInput:
    match kind:
        case "read_file":
            read = given.read_file
            return doc.ReadFileInput(read.path, read.start_line, read.end_line)
        case "analyze":
            return doc.AnalyzeInput(given.analyze.instruction, tuple(given.analyze.context_keys))
        case "summarize":
            return doc.SummarizeInput(given.summarize.instruction, tuple(given.summarize.context_keys))
        case "edit_file":
            edit = given.edit_file
            change = edit.WhichOneof("change")
            return doc.EditFileInput(edit.path, **({change: getattr(edit, change)} if change else {}))
        case _:
            return _doc_command(given.run_command)


def _doc_command(given: step_pb2.RunCommandInput) -> doc.RunCommandInput:
    shell = given.WhichOneof("program") == "command"
    return doc.RunCommandInput(
        command=given.command if shell else None,
        argv=None if shell else tuple(given.argv.items),
        working_dir=given.working_dir,
        timeout_ms=given.timeout.ToMilliseconds() if given.HasField("timeout") else None,
        env=dict(given.env),
        network=tuple(given.network),
        allowed_exit_codes=tuple(given.allowed_exit_codes),
    )


def _duration(milliseconds: int | None) -> Duration | None:
    if milliseconds is None:
        return None
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
