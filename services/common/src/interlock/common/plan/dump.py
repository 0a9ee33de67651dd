"""Plan → document. What is written reads back as the same plan; defaults are left out."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import yaml

from interlock.common.plan.load import plain_scalar
from interlock.common.plan.model import (
    AnalyzeInput,
    EditFileInput,
    OnFailure,
    Plan,
    PlanBudget,
    PlanPolicy,
    PlanRule,
    PlanStage,
    PlanStep,
    ReadFileInput,
    RunCommandInput,
    StepInput,
)
from interlock.common.plan.problems import DocumentError
from interlock.common.plan.values import show_ms


def to_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data in the document's shape, money as exact decimals."""
    data: dict[str, Any] = {"goal": plan.goal}
    if plan.policy is not None:
        data["policy"] = _policy(plan.policy)
    if plan.budget is not None:
        data["budget"] = _budget(plan.budget)
    if plan.labels:
        data["labels"] = dict(plan.labels)
    data["steps"] = [step_data(step) for step in plan.steps]
    return data


def step_data(step: PlanStep) -> dict[str, Any]:
    """One step in the document's shape."""
    data: dict[str, Any] = {step.kind.value: _input(step.input)}
    if step.name:
        data["name"] = step.name
    if step.gate is not None:
        data["gate"] = step.gate.value
    if step.retries:
        data["retries"] = step.retries
    if step.on_failure is not OnFailure.STOP:
        data["on_failure"] = step.on_failure.value
    return data


def _policy(policy: PlanPolicy) -> dict[str, Any]:
    values = {
        "name": policy.name or None,
        "edit_file_gate": policy.edit_file_gate.value if policy.edit_file_gate else None,
        "run_command_gate": policy.run_command_gate.value if policy.run_command_gate else None,
        "steps_may_weaken": policy.steps_may_weaken or None,
        "approval_timeout": show_ms(policy.approval_timeout_ms) if policy.approval_timeout_ms else None,
        "stages": [_stage(stage) for stage in policy.stages] or None,
        "groups": {name: list(people) for name, people in policy.groups.items()} or None,
        "separate_requester": policy.separate_requester or None,
        "remind_every": show_ms(policy.remind_every_ms) if policy.remind_every_ms else None,
        "escalate_after": show_ms(policy.escalate_after_ms) if policy.escalate_after_ms else None,
        "escalate_to": list(policy.escalate_to) or None,
        "version": policy.version or None,
        "rules": [rule_data(rule) for rule in policy.rules] or None,
        "include": list(policy.include) or None,
    }
    return _given(values)


def rule_data(rule: PlanRule) -> dict[str, Any]:
    """One rule in the document's shape."""
    values = {
        "name": rule.name,
        "effect": rule.effect,
        "when": rule.when,
        "reason": rule.reason or None,
        "gate": rule.gate or None,
        "stages": [_stage(stage) for stage in rule.stages] or None,
        "separate_requester": rule.separate_requester or None,
        "always": rule.always or None,
        "network": rule.network or None,
    }
    return _given(values)


def _stage(stage: PlanStage) -> dict[str, Any]:
    values = {"name": stage.name or None, "quorum": stage.quorum, "approvers": list(stage.approvers) or None}
    return _given(values)


def _budget(budget: PlanBudget) -> dict[str, Any]:
    micros = budget.max_cost_micros
    usd = None if micros is None else Decimal(micros) / 1_000_000
    return _given({"usd": usd, "model_calls": budget.max_model_calls})


def _input(chosen: StepInput) -> dict[str, Any]:
    if isinstance(chosen, ReadFileInput):
        lines = {"start_line": chosen.start_line or None, "end_line": chosen.end_line or None}
        return _given({"path": chosen.path, **lines})
    if isinstance(chosen, EditFileInput):
        change = {"new_content": chosen.new_content, "patch": chosen.patch, "instruction": chosen.instruction}
        return _given({"path": chosen.path, **change})
    if isinstance(chosen, RunCommandInput):
        return _command(chosen)
    keys = list(chosen.context_keys) or None
    needed = chosen.instruction if isinstance(chosen, AnalyzeInput) else chosen.instruction or None
    return _given({"instruction": needed, "context_keys": keys})


def _command(chosen: RunCommandInput) -> dict[str, Any]:
    return _given(
        {
            "command": chosen.command,
            "argv": None if chosen.argv is None else list(chosen.argv),
            "working_dir": chosen.working_dir or None,
            "timeout": None if chosen.timeout_ms is None else show_ms(chosen.timeout_ms),
            "env": dict(chosen.env) or None,
            "network": list(chosen.network) or None,
            "allowed_exit_codes": list(chosen.allowed_exit_codes) or None,
            "secrets": dict(chosen.secrets) or None,
        }
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def dump_json(plan: Plan) -> str:
    """The plan as an indented JSON document."""
    marker = "\u0000usd:"  # no text of a plan can hold a NUL, so this cannot be confused with content
    data = to_data(plan)
    if isinstance(data.get("budget"), dict) and "usd" in data["budget"]:
        usd = data["budget"]["usd"]
        data["budget"]["usd"] = marker
        return _json(data).replace(json.dumps(marker), f"{usd:f}")
    return _json(data)


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def dump_yaml(plan: Plan) -> str:
    """The plan as a YAML document for people: long texts as blocks, keys in the format's order."""
    return yaml.dump(
        to_data(plan),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=110,
        default_flow_style=False,
    )


# Controls and the line breaks of Unicode, which folding would change: written as escapes.
_UNPLAIN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes whatever the plan's own reader would not take as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if _UNPLAIN.search(text):
        style = '"'
    elif style is None and not _reads_as_text(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _reads_as_text(text: str) -> bool:
    try:
        return isinstance(plain_scalar(text), str)
    except DocumentError:
        return False


def _number(dumper: _Dumper, number: Decimal) -> yaml.ScalarNode:
    text = f"{number:f}"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Decimal, _number)
