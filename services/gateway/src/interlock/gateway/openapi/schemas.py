"""Messages and enums as JSON Schemas, by protobuf's JSON mapping."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from interlock.gateway.openapi.descriptions import describe
from interlock.gateway.openapi.rules import items_of, rules_of

Schema = dict[str, Any]

_F = FieldDescriptor
_SIGNED = {"type": "integer", "format": "int32"}
_UNSIGNED = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**32 - 1}
_LONG = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_NUMBER = {"type": "number", "format": "double"}
_SCALARS: Final[dict[int, Schema]] = {
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SINT32, _F.TYPE_SFIXED32), _SIGNED),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), _UNSIGNED),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64), _LONG),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), _LONG),
    **dict.fromkeys((_F.TYPE_FLOAT, _F.TYPE_DOUBLE), _NUMBER),
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}


class Schemas:
    """The component schemas of a document; each message is added when it is first referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of_message(self, message: Descriptor) -> Schema:
        """A reference to a message's schema, or the schema itself of a well-known one."""
        if message.full_name.startswith("google."):
            return dict(_WELL_KNOWN.get(message.full_name, {"type": "object"}))
        name = component(message.full_name)
        if name not in self.components:
            self.components[name] = {}  # before its fields: a message may hold itself
            self.components[name] = self.of_fields(message, set())
        return {"$ref": f"#/components/schemas/{name}"}

    def of_fields(self, message: Descriptor, without: set[str]) -> Schema:
        """A message as an object, without some of its fields."""
        made: Schema = {"type": "object", "additionalProperties": False}
        if text := describe(message.full_name):
            made["description"] = text
        fields = [field for field in message.fields if field.name not in without]
        made["properties"] = {field.json_name: self.of_field(field) for field in fields}
        return made

    def of_field(self, field: FieldDescriptor) -> Schema:
        """A field, with its rules and its comment."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            made: Schema = {"type": "object", "additionalProperties": self._single(value), **rules_of(field)}
        elif field.is_repeated:
            made = {"type": "array", "items": {**self._single(field), **items_of(field)}, **rules_of(field)}
        else:
            made = {**self._single(field), **rules_of(field)}
        if text := describe(field.full_name):
            made["description"] = text
        return made

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.of_message(field.message_type)
        if field.enum_type is not None:
            return self._of_enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _of_enum(self, enum: EnumDescriptor) -> Schema:
        name = component(enum.full_name)
        if name not in self.components:
            scope = enum.full_name.rpartition(".")[0]
            values = [(value.name, describe(f"{scope}.{value.name}")) for value in enum.values]
            lines = "\n".join(f"- `{value}`: {text}" for value, text in values)
            self.components[name] = {
                "type": "string",
                "enum": [value for value, _ in values],
                "description": f"{describe(enum.full_name)}\n\n{lines}",
            }
        return {"$ref": f"#/components/schemas/{name}"}


def component(full_name: str) -> str:
    """`interlock.v1.Run` as `Run`."""
    return full_name.removeprefix("interlock.v1.")
