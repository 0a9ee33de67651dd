"""JSON Schemas that models are asked to answer by, one per dialect.

``rich``: any kind of step with its own fields. ``router``: the plain array of ``{step_type, input, description}`` that
the Smart Model Router accepts (an enum, no const, no additionalProperties). ``tiny``: a form to fill in, in which the
tiny local model cannot name a file or a command that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interlock.common.plan import StepKind

KINDS = [kind.value for kind in StepKind]
_SUMMARIES = (
    "Say what was done and what came of it.",
    "Say what was found out.",
    "Say what was changed and whether the tests pass.",
)
_TINY_FILES = 24
_TINY_TEXT = 60


def rich_schema(max_steps: int) -> dict[str, Any]:
    """``{"steps": [{"kind": …, …}]}``."""
    shapes = [
        _shape(StepKind.READ_FILE, {"path": _TEXT}),
        _shape(StepKind.ANALYZE, {"instruction": _TEXT}, {"context_keys": _KEYS}),
        _shape(StepKind.EDIT_FILE, {"path": _TEXT, "instruction": _TEXT}),
        _shape(StepKind.EDIT_FILE, {"path": _TEXT, "new_content": _TEXT}),
        _shape(StepKind.EDIT_FILE, {"path": _TEXT, "patch": _TEXT}),
        _shape(StepKind.RUN_COMMAND, {"command": _TEXT}),
        _shape(StepKind.SUMMARIZE, {"instruction": _TEXT}, {"context_keys": _KEYS}),
    ]
    steps = {"type": "array", "minItems": 1, "maxItems": max_steps, "items": {"anyOf": shapes}}
    return {
        "type": "object",
        "properties": {"steps": steps},
        "required": ["steps"],
        "additionalProperties": False,
    }


_TEXT: dict[str, Any] = {"type": "string"}
_KEYS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}


def _shape(
    kind: StepKind, required: dict[str, Any], optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    properties = {
        "kind": {"type": "string", "enum": [kind.value]},
        "name": _TEXT,
        **required,
        **(optional or {}),
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["kind", "name", *required],
        "additionalProperties": False,
    }


def router_schema() -> dict[str, Any]:
    """A plain array of ``{step_type, input, description}``."""
    return {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "step_type": {"type": "string", "enum": KINDS},
                "input": {"type": "string"},
                "description": {"type": "string"},
            },
            "required": ["step_type", "input", "description"],
        },
    }


def tiny_schema(paths: Sequence[str], commands: Sequence[str], max_steps: int) -> dict[str, Any]:
    """A form: files to read, a question, edits, commands, what to sum up. Fits ``max_steps`` whatever is filled in."""
    left = max(0, max_steps - 1)  # the summary comes in any case
    question = min(1, left)
    reads = min(2, left - question) if paths else 0
    runs = min(1, left - question - reads)
    edits = min(1, left - question - reads - runs) if paths else 0
    some_paths = {"type": "string", "enum": list(paths[:_TINY_FILES])}
    edit = {"type": "object", "properties": {"path": some_paths, "instruction": _WISH}}
    edit["required"] = ["path", "instruction"]
    fields: dict[str, Any] = {}
    if reads:
        fields["read_files"] = _items(some_paths, 1, reads)
    if question:
        fields["question"] = _sentence("What", "How", "Which", "Where", "Why", end="[?]")
    if edits:
        fields["edits"] = _items(edit, 0, edits)
    if runs:
        fields["commands"] = _items({"type": "string", "enum": list(commands)}, 0, runs)
    fields["summary"] = {"type": "string", "enum": list(_SUMMARIES)}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _sentence(*verbs: str, end: str) -> dict[str, Any]:
    """A short sentence that begins with one of the verbs: so small a model goes astray without a rail."""
    return {"type": "string", "pattern": f"^({'|'.join(verbs)}) [A-Za-z0-9 ,'_/-]{{8,{_TINY_TEXT}}}{end}$"}


_WISH = _sentence("Add", "Change", "Fix", "Remove", "Rename", "Update", "Write", end="[.]")


def _items(item: dict[str, Any], low: int, high: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": low, "maxItems": high}


def draft_schema(tiny: bool) -> dict[str, Any]:
    """The whole new content; for the tiny model only lines to add, because it cannot copy a file faithfully."""
    if tiny:
        lines = _items({"type": "string", "pattern": "^[ !#-\\[\\]-~]{8,76}$"}, 1, 4)
        return {"type": "object", "properties": {"lines_to_add": lines}, "required": ["lines_to_add"]}
    return {
        "type": "object",
        "properties": {"new_content": _TEXT},
        "required": ["new_content"],
        "additionalProperties": False,
    }
