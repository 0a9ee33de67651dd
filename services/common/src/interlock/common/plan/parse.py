"""Nodes → plan. Gathers every problem with its field path and position instead of stopping at the first."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from interlock.common import gates
from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import table
from interlock.common.plan.limits import MAX_STEPS
from interlock.common.plan.load import load
from interlock.common.plan.model import (
    AnalyzeInput,
    Gate,
    OnFailure,
    Plan,
    PlanBudget,
    PlanPolicy,
    PlanStep,
    ReadFileInput,
    StepInput,
    StepKind,
    SummarizeInput,
)
from interlock.common.plan.nodes import Node, node_of
from interlock.common.plan.problems import DocumentError, Problem, Problems
from interlock.common.plan.values import Unreadable, refuse

_KINDS = tuple(kind.value for kind in StepKind)
_OPTIONS = tuple(field.key for field in table.STEP_OPTIONS)
_TOP = ("goal", "policy", "budget", "labels", "steps")


def parse_plan(document: bytes | str, *, for_run: bool = False) -> Plan:
    """The plan a YAML or JSON document says, at most 4 MiB and 10,000 steps.

    With ``for_run`` it is to become a run of its own: a step whose gate is weaker than the document's policy allows
    is refused as the run would be (INVALID_ARGUMENT).

    Raises InterlockError for the first problem, in document order: PLAN_INVALID, STEP_KIND_UNKNOWN,
    STEP_FIELD_MISSING, PATH_OUTSIDE_WORKSPACE, RUN_EMPTY_PLAN or RUN_TOO_MANY_STEPS; ``field`` is a path such as
    ``steps[3].edit_file.path`` (indices from 0), metadata has ``line`` and ``column`` (from 1) where known.
    """
    plan, problems = _checked(document, for_run)
    if plan is None:
        problems.raise_first()
    assert plan is not None
    return plan


def check_plan(document: bytes | str, *, for_run: bool = False) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The plan, or ``None`` and every problem found (at most 100); ``for_run`` as in ``parse_plan``."""
    plan, problems = _checked(document, for_run)
    return plan, tuple(problems.found)


def plan_from_data(data: object, earlier_steps: int = 0) -> Plan:
    """The plan that plain Python data says (mappings, lists, text, numbers). Raises as ``parse_plan``.

    ``earlier_steps`` is how many steps the run has already: context keys may name those too.
    """
    plan, problems = _read(data, earlier_steps)
    if plan is None:
        problems.raise_first()
    assert plan is not None
    return plan


def problems_in_data(data: object, earlier_steps: int = 0) -> tuple[Plan | None, tuple[Problem, ...]]:
    """As ``check_plan``, for plain Python data; ``earlier_steps`` as in ``plan_from_data``."""
    plan, problems = _read(data, earlier_steps)
    return plan, tuple(problems.found)


def _checked(document: bytes | str, for_run: bool) -> tuple[Plan | None, Problems]:
    problems = Problems(for_run=for_run)
    try:
        return _plan(load(document), problems), problems
    except DocumentError as error:
        problems.add(error.problem)
        return None, problems


def _read(data: object, earlier_steps: int) -> tuple[Plan | None, Problems]:
    problems = Problems(earlier_steps=earlier_steps)
    try:
        return _plan(node_of(data), problems), problems
    except DocumentError as error:
        problems.add(error.problem)
        return None, problems


def _plan(node: Node, problems: Problems) -> Plan | None:
    if not isinstance(node.value, dict):
        refuse(node, "", problems, f"a plan is a mapping with goal and steps, not {node.kind()}")
        return None
    entries = node.value
    _refuse_unknown(entries, _TOP, "", problems)
    goal = _field(table.GOAL, node, "", problems)
    policy = _policy(entries.get("policy"), problems)
    budget = _budget(entries.get("budget"), problems)
    labels = _field(table.LABELS, node, "", problems) or {}
    steps = _steps(node, problems)
    if problems.for_run and (policy is not None or "policy" not in entries):
        _check_gates(entries.get("steps"), policy or PlanPolicy(), problems)
    if problems.found:
        return None
    return Plan(goal=goal, steps=steps, policy=policy, budget=budget, labels=labels)


def _policy(node: Node | None, problems: Problems) -> PlanPolicy | None:
    if node is None:
        return None
    if isinstance(node.value, str):  # the short form: the name of a shipped one
        name = _value(table.SHIPPED, node, "policy", problems)
        return None if name is None else PlanPolicy(name=name, include=(name,))
    values = read_shape(table.POLICY, node, "policy", problems)
    for key in ("edit_file_gate", "run_command_gate"):
        if values and key in values:
            values[key] = Gate(values[key])
    return None if values is None else PlanPolicy(**values)


def _budget(node: Node | None, problems: Problems) -> PlanBudget | None:
    if node is None:
        return None
    if not isinstance(node.value, dict):  # the short form: US dollars
        return PlanBudget(max_cost_micros=_value(table.BUDGET.fields[0].type, node, "budget", problems))
    values = read_shape(table.BUDGET, node, "budget", problems)
    return None if values is None else PlanBudget(**values)


def _steps(plan: Node, problems: Problems) -> tuple[PlanStep, ...]:
    assert isinstance(plan.value, dict)
    node = plan.value.get("steps")
    if node is None:
        refuse(plan, "steps", problems, "is missing", "Add a list of steps.", Reason.RUN_EMPTY_PLAN)
        return ()
    if not isinstance(node.value, list):
        refuse(node, "steps", problems, f"must be a list, not {node.kind()}")
        return ()
    if not node.value:
        refuse(node, "steps", problems, "is empty", "Add at least one step.", Reason.RUN_EMPTY_PLAN)
    if len(node.value) > MAX_STEPS:
        count = f"has {len(node.value):,} steps; a run may have {MAX_STEPS:,}"
        refuse(node, "steps", problems, count, "Split the plan over several runs.", Reason.RUN_TOO_MANY_STEPS)
        return ()
    steps = (_step(item, index, problems) for index, item in enumerate(node.value))
    return tuple(step for step in steps if step is not None)


def _step(node: Node, index: int, problems: Problems) -> PlanStep | None:
    path = f"steps[{index}]"
    if not isinstance(node.value, dict):
        refuse(node, path, problems, f"a step is a mapping with one kind, not {node.kind()}")
        return None
    kind = _kind(node, path, problems)
    if kind is None:
        return None
    _refuse_unknown(node.value, (*_KINDS, *_OPTIONS), path, problems)
    options = {field.key: _field(field, node, path, problems) for field in table.STEP_OPTIONS}
    chosen = _input(kind, node.value[kind.value], f"{path}.{kind.value}", index, problems)
    if chosen is None:
        return None
    return PlanStep(
        kind=kind,
        input=chosen,
        name=options["name"] or "",
        gate=Gate(options["gate"]) if options["gate"] else None,
        retries=options["retries"] or 0,
        on_failure=OnFailure(options["on_failure"] or "stop"),
    )


def _check_gates(steps: Node | None, policy: PlanPolicy, problems: Problems) -> None:
    """Note the steps whose gate is weaker than the policy's, where it stands."""
    items = steps.value if steps is not None and isinstance(steps.value, list) else []
    if policy.steps_may_weaken or len(items) > MAX_STEPS:
        return
    edit = str(policy.edit_file_gate or gates.EDIT_FILE)
    command = str(policy.run_command_gate or gates.RUN_COMMAND)
    for index, item in enumerate(items):
        given = item.value if isinstance(item.value, dict) else {}
        kinds, gate = [key for key in given if key in _KINDS], given.get("gate")
        if gate is None or len(kinds) != 1 or gate.value not in list(Gate):
            continue
        network = _names_hosts(given[kinds[0]])
        floor, path = gates.default_gate(kinds[0], edit, command, network=network), f"steps[{index}].gate"
        number = problems.earlier_steps + index + 1
        try:
            gates.check_step(number, str(gate.value), floor, policy.name or gates.POLICY, field=path)
        except InterlockError as error:
            refuse(gate, path, problems, error.message.rstrip("."), error.fix, error.reason)


def _names_hosts(given: Node) -> bool:
    """Whether a step's input asks for network, in either form."""
    for key in ("network", "hosts"):
        if isinstance(given.value, dict) and key in given.value:
            given = given.value[key]
    return isinstance(given.value, list) and bool(given.value)


def _kind(node: Node, path: str, problems: Problems) -> StepKind | None:
    assert isinstance(node.value, dict)
    given = [key for key in node.value if key in _KINDS]
    if len(given) > 1:
        refuse(
            node, path, problems, f"has {' and '.join(given)}; a step has one kind", "Make them two steps."
        )
        return None
    if given:
        return StepKind(given[0])
    others = [key for key in node.value if key not in _OPTIONS]
    if not others:
        message = f"names no kind; a step has one of {', '.join(_KINDS)}"
        refuse(node, path, problems, message, reason=Reason.STEP_FIELD_MISSING)
        return None
    where = f"{path}.{others[0][:80]}"
    message = f"{others[0][:80]!r} is not a kind of step; kinds are {', '.join(_KINDS)}"
    at = node.value[others[0]]
    refuse(at, where, problems, message, _guess(others[0], _KINDS), Reason.STEP_KIND_UNKNOWN)
    return None


def _input(kind: StepKind, node: Node, path: str, index: int, problems: Problems) -> StepInput | None:
    shape = table.STEP_SHAPES[kind]
    if node.value is None:
        node = Node({}, node.line, node.column)  # `- summarize:` alone
    before = len(problems.found) + problems.dropped
    values = read_shape(shape, node, path, problems)
    if values is None or len(problems.found) + problems.dropped > before:
        return None
    chosen: StepInput = shape.build(**values)
    _check_meaning(chosen, node, path, index, problems)
    return chosen


def _check_meaning(chosen: StepInput, node: Node, path: str, index: int, problems: Problems) -> None:
    if isinstance(chosen, ReadFileInput) and 0 < chosen.end_line < chosen.start_line:
        refuse(
            node, f"{path}.end_line", problems, f"is {chosen.end_line}, before start_line {chosen.start_line}"
        )
    if isinstance(chosen, (AnalyzeInput, SummarizeInput)):
        for position, key in enumerate(chosen.context_keys):
            if int(key.removeprefix("step-")) > problems.earlier_steps + index:
                message = f"{key} is not before this step, which is step-{problems.earlier_steps + index + 1}"
                refuse(
                    node, f"{path}.context_keys[{position}]", problems, message, "Name earlier steps only."
                )


def read_shape(shape: table.Shape, node: Node, path: str, problems: Problems) -> dict[str, Any] | None:
    """The values of a mapping by attribute name (absent ones left out), or None when it is no mapping."""
    if not isinstance(node.value, dict):
        refuse(node, path, problems, f"must be a mapping, not {node.kind()}")
        return None
    _refuse_unknown(node.value, tuple(field.key for field in shape.fields), path, problems)
    _check_one_of(shape.one_of, node, path, problems)
    read = {field.attribute or field.key: _field(field, node, path, problems) for field in shape.fields}
    return {name: value for name, value in read.items() if value is not None}


def _check_one_of(names: tuple[str, ...], node: Node, path: str, problems: Problems) -> None:
    assert isinstance(node.value, dict)
    given = [name for name in names if name in node.value]
    if names and not given:
        message = f"needs one of {', '.join(names)}"
        refuse(node, path, problems, message, reason=Reason.STEP_FIELD_MISSING)
    if len(given) > 1:
        refuse(node, path, problems, f"has {' and '.join(given)}; give exactly one", "Remove the others.")


def _field(field: table.Field, node: Node, path: str, problems: Problems) -> Any:
    assert isinstance(node.value, dict)
    where = f"{path}.{field.key}" if path else field.key
    if field.key in node.value:
        return _value(field.type, node.value[field.key], where, problems)
    if field.required:
        refuse(node, where, problems, "is missing", f"Add it: {field.doc}", _missing_reason(path))
    return None


def _missing_reason(path: str) -> Reason:
    return Reason.STEP_FIELD_MISSING if path.startswith("steps") else Reason.PLAN_INVALID


def _value(kind: Any, node: Node, path: str, problems: Problems) -> Any:
    try:
        return kind.read(node, path, problems)
    except Unreadable:
        return None


def _refuse_unknown(
    entries: Mapping[str, Node], known: tuple[str, ...], path: str, problems: Problems
) -> None:
    for key, node in entries.items():
        if key not in known:
            where = f"{path}.{key[:80]}" if path else key[:80]
            message = f"is not a field here; known are {', '.join(known)}"
            refuse(node, where, problems, message, _advice(key, known, path))


def _advice(key: str, known: tuple[str, ...], path: str) -> str:
    kind = path.rpartition(".")[2]
    if kind in _KINDS and key in _OPTIONS:
        return f"`{key}` belongs to the step: write it beside `{kind}`, not inside it."
    return _guess(key, known)


def _guess(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word[:80], list(known), n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it."
