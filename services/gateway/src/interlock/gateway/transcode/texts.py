"""Values that come as text, in a path or a query, as the JSON that protobuf's mapping takes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from interlock.common.errors import InterlockError, Reason

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_BOOLS: Final = {"true": True, "false": False}
_INTEGERS: Final = frozenset(
    {
        *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32),
        *(FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_SFIXED64),
        *(FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32),
        *(FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64),
    }
)
TEXT_MESSAGES: Final = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"}
)
"""Messages whose JSON is a string, so that a query can hold them."""


def from_text(field: FieldDescriptor, text: str, name: str) -> Any:
    """What `text` says for a field (or one item of it). Raises INVALID_ARGUMENT naming `name`."""
    if field.message_type is not None:
        if field.message_type.full_name in TEXT_MESSAGES:
            return text
        raise bad_value(name, "it is an object, which only a body can hold")
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in _BOOLS:
            raise bad_value(name, "it must be true or false")
        return _BOOLS[text]
    if field.type in _INTEGERS:
        if not _INTEGER.fullmatch(text):
            raise bad_value(name, "it must be a whole number")
        return int(text)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum(field, text, name)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(text, name)
    return text


def _enum(field: FieldDescriptor, text: str, name: str) -> str:
    assert field.enum_type is not None
    known = field.enum_type.values_by_name
    if text in known:
        return text
    if _INTEGER.fullmatch(text) and int(text) in field.enum_type.values_by_number:
        return str(field.enum_type.values_by_number[int(text)].name)
    raise bad_value(name, f"it must be one of {', '.join(known)}")


def _bytes(text: str, name: str) -> str:
    padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        raise bad_value(name, "it must be base64") from None
    return padded


def bad_value(name: str, why: str) -> InterlockError:
    """The error for a path's or query's value."""
    return InterlockError(Reason.INVALID_ARGUMENT, f"{name[:160]} cannot be used: {why}.", field=name[:160])
