"""Rules of protovalidate as JSON Schema: those that JSON Schema can say."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from buf.validate import validate_pb2

_TEXT = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_NUMBER = {"gte": "minimum", "lte": "maximum"}
_LIST = {"min_items": "minItems", "max_items": "maxItems"}
_MAP = {"min_pairs": "minProperties", "max_pairs": "maxProperties"}
_KINDS = {
    "string": _TEXT,
    "int32": _NUMBER,
    "uint32": _NUMBER,
    "double": _NUMBER,
    "repeated": _LIST,
    "map": _MAP,
}


def rules_of(field: FieldDescriptor) -> dict[str, Any]:
    """The keywords that a field's rules come to. 64-bit numbers are text in JSON and have none."""
    rules: Any = field.GetOptions().Extensions[validate_pb2.field]
    kind = rules.WhichOneof("type")
    if kind not in _KINDS:
        return {}
    return _keywords(getattr(rules, kind), _KINDS[kind])


def items_of(field: FieldDescriptor) -> dict[str, Any]:
    """The same for the items of a repeated field."""
    rules: Any = field.GetOptions().Extensions[validate_pb2.field]
    if rules.WhichOneof("type") != "repeated" or not rules.repeated.HasField("items"):
        return {}
    kind = rules.repeated.items.WhichOneof("type")
    return _keywords(getattr(rules.repeated.items, kind), _KINDS[kind]) if kind in _KINDS else {}


def _keywords(rules: Any, names: dict[str, str]) -> dict[str, Any]:
    return {keyword: getattr(rules, name) for name, keyword in names.items() if rules.HasField(name)}
