"""Which gate a step waits at."""

from __future__ import annotations

from interlock.common import gates
from interlock.orchestrator.domain.model import WRITING_KINDS, Gate, Policy, StepKind, StepSpec


def default_gate(kind: StepKind, policy: Policy, *, network: bool = False) -> Gate:
    """The gate of a step that names none."""
    edit_file, run_command = policy.edit_file_gate.value, policy.run_command_gate.value
    return Gate(gates.default_gate(kind.value, edit_file, run_command, network=network))


def _floor(spec: StepSpec, policy: Policy) -> Gate:
    return default_gate(spec.kind, policy, network=bool(spec.input.get("network")))


def effective_gate(spec: StepSpec, policy: Policy) -> Gate:
    """The gate in force: the step's own where it is allowed, else the policy's.

    A command that asks for network has no preview, so a gate that would preview it becomes COMMAND, as does the NONE
    of a policy: only a step itself can say NONE for it, where its policy lets steps weaken gates. Writing a file runs
    nothing, so its gates all become EFFECT.
    """
    if spec.kind not in WRITING_KINDS:
        return Gate.NONE
    gate = spec.gate or _floor(spec, policy)
    if spec.kind is StepKind.EDIT_FILE:
        return Gate.NONE if gate is Gate.NONE else Gate.EFFECT
    return Gate.COMMAND if gate is not Gate.NONE and spec.input.get("network") else gate


def gate_note(spec: StepSpec, policy: Policy) -> str:
    """What an approver should know about the gate in force; empty for most."""
    wanted = spec.gate or _floor(spec, policy)
    if spec.kind is StepKind.RUN_COMMAND and spec.input.get("network") and wanted in (Gate.EFFECT, Gate.BOTH):
        return (
            f"The gate {wanted.value!r} was asked for, but a command that uses the network cannot be previewed: "
            "running it would already act outside the workspace. It is asked about before it runs."
        )
    return ""


def check_gate(spec: StepSpec, policy: Policy, *, index: int, number: int) -> None:
    """Refuses a step that asks for a weaker gate than its run's policy, unless the policy lets steps do so.

    Args:
        index: its place in the request, from 0.
        number: the number it has, or would have, in its run.
    """
    if spec.gate is None or policy.steps_may_weaken:
        return
    floor = _floor(spec, policy)
    gates.check_step(number, spec.gate.value, floor.value, policy.name, field=f"steps[{index}].gate")
