"""A model's data → steps in the shape of a plan document. Lenient in form here, strict in the plan parser after.

Four forms are read: the rich dialect's ``{"kind": …}``, the router's ``{"step_type", "input", "description"}``, a step
as a plan document writes it, and the tiny model's form. A list may stand bare or under ``steps`` (or ``plan``,
``data``). A model never chooses gates, network or secrets: those keys are dropped, so that people decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.common.plan import StepKind

_KINDS = {kind.value for kind in StepKind}
_WRAPPERS = ("steps", "plan", "data", "items")
# What a plan document calls the main field of each kind; the router has one `input` for all of them.
_MAIN = {
    "read_file": "path",
    "edit_file": "path",
    "analyze": "instruction",
    "summarize": "instruction",
    "run_command": "command",
}
_PRIVILEGES = ("network", "secrets")
_OPTIONS = ("name", "gate", "retries", "on_failure")


class NoSteps(ValueError):
    """The data has no list of steps; the text says what it has instead."""


def steps_data(data: Any) -> list[Any]:
    """Steps in document shape; what is not understood is left as it is for the parser to complain about."""
    if isinstance(data, Mapping) and "summary" in data and not any(key in data for key in _WRAPPERS):
        return _from_form(data)
    for _ in range(3):
        if isinstance(data, Mapping):
            key = next((name for name in _WRAPPERS if isinstance(data.get(name), (list, Mapping))), None)
            if key is None:
                break
            data = data[key]
    if isinstance(data, Mapping) and ({"kind", "step_type"} & data.keys() or _KINDS & data.keys()):
        data = [data]
    if not isinstance(data, list):
        keys = ", ".join(str(key)[:30] for key in list(data)[:5]) if isinstance(data, Mapping) else "none"
        raise NoSteps(f"there is no list of steps (keys: {keys or 'none'})")
    return [_without_privileges(_step(item)) for item in data]


def _without_privileges(step: Any) -> Any:
    if not isinstance(step, dict):
        return step
    kept = {key: value for key, value in step.items() if key != "gate"}
    command = kept.get("run_command")
    if isinstance(command, Mapping):
        kept["run_command"] = {key: value for key, value in command.items() if key not in _PRIVILEGES}
    return kept


def _step(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    if isinstance(item.get("step_type"), str):
        return _from_router(item)
    if isinstance(item.get("kind"), str):
        return _from_flat(item)
    return dict(item)


def _from_flat(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item["kind"]
    given = {key: value for key, value in item.items() if key != "kind" and value is not None}
    options = {key: given.pop(key) for key in _OPTIONS if key in given}
    if options.get("name") is not None:
        options["name"] = str(options["name"])[:200]
    fields = {key: value for key, value in given.items() if not (value in ("", []) and key != "new_content")}
    if kind == "edit_file" and "instruction" in fields and "new_content" in fields:
        # Both is a common slip. Content that was written out is more exact than the wish for it.
        fields.pop("instruction")
    return {kind: fields, **options}


def _from_router(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item["step_type"]
    description = str(item.get("description") or "")
    fields = _router_input(kind, item.get("input"))
    if kind == "edit_file" and not {"new_content", "patch", "instruction"} & fields.keys():
        fields["instruction"] = description
    if kind in ("analyze", "summarize"):
        fields.setdefault("instruction", description)
    step: dict[str, Any] = {kind: fields}
    if description:
        step["name"] = " ".join(description.split())[:200]
    return step


def _router_input(kind: str, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {key: value for key, value in given.items() if value not in (None, "", [])}
    main = _MAIN.get(kind, "input")
    if isinstance(given, list) and kind == "run_command":
        return {"argv": given}
    return {main: given} if given not in (None, "") else {}


def _from_form(form: Mapping[str, Any]) -> list[Any]:
    """The tiny model's form, in the order in which the work makes sense."""
    steps: list[Any] = [{"read_file": {"path": path}} for path in dict.fromkeys(_list(form, "read_files"))]
    if form.get("question"):
        steps.append({"analyze": {"instruction": form["question"]}})
    steps += [
        {"edit_file": dict(edit)} if isinstance(edit, Mapping) else edit for edit in _list(form, "edits")
    ]
    steps += [{"run_command": {"command": command}} for command in _list(form, "commands")]
    steps.append({"summarize": {"instruction": form["summary"]}})
    return steps


def _list(form: Mapping[str, Any], key: str) -> list[Any]:
    value = form.get(key)
    return value if isinstance(value, list) else []
