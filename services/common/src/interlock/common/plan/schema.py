"""The format as JSON Schema (draft 2020-12), made from the parser's table.

``python -m interlock.common.plan`` prints the document published as docs/plan.schema.json. What a schema
cannot say is left to the parser: byte lengths, context keys that must refer backwards, an end line after its start.
"""

from __future__ import annotations

import json
from typing import Any

from interlock.common.plan import table
from interlock.common.plan.limits import MAX_STEPS, SHIPPED_POLICIES
from interlock.common.plan.model import StepKind

SCHEMA_ID = "https://interlock.invalid/schemas/plan.schema.json"


def plan_schema() -> dict[str, Any]:
    """The whole schema as a fresh dictionary."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Interlock plan",
        "description": "A goal and the steps that reach it. YAML (1.2 core schema) or JSON, at most 4 MiB.",
        "type": "object",
        "required": ["goal", "steps"],
        "additionalProperties": False,
        "properties": {
            "goal": _field(table.GOAL),
            "policy": {"anyOf": [{"enum": list(SHIPPED_POLICIES)}, _shape(table.POLICY)]},
            "budget": {"anyOf": [_field(table.BUDGET.fields[0]), _shape(table.BUDGET)]},
            "labels": _field(table.LABELS),
            "steps": {
                "description": "The steps, in order; the first is step-1.",
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_STEPS,
                "items": {"$ref": "#/$defs/step"},
            },
        },
        "$defs": {"step": _step(), **_kinds()},
    }


def _kinds() -> dict[str, Any]:
    shapes = {kind.value: _shape(table.STEP_SHAPES[kind]) for kind in StepKind}
    for schema in shapes.values():
        if not ("required" in schema or "oneOf" in schema):
            schema["type"] = ["object", "null"]  # `- summarize:` alone
    return shapes


def _step() -> dict[str, Any]:
    kinds = {kind.value: {"$ref": f"#/$defs/{kind.value}"} for kind in StepKind}
    return {
        "description": "One step: one key names its kind, the others are options.",
        "type": "object",
        "properties": {**kinds, **{field.key: _field(field) for field in table.STEP_OPTIONS}},
        "additionalProperties": False,
        "oneOf": [{"required": [kind.value]} for kind in StepKind],
    }


def _shape(shape: table.Shape) -> dict[str, Any]:
    required = [field.key for field in shape.fields if field.required]
    schema: dict[str, Any] = {
        "description": shape.doc,
        "type": "object",
        "properties": {field.key: _field(field) for field in shape.fields},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    if shape.one_of:
        schema["oneOf"] = [{"required": [name]} for name in shape.one_of]
    return schema


def _field(field: table.Field) -> dict[str, Any]:
    return {"description": field.doc, **field.type.schema()}


def render() -> str:
    """The published text of the schema."""
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"
