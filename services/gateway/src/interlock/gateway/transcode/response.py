"""Messages to JSON, by protobuf's mapping."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from interlock.gateway.transcode.document import write_json


def to_json(message: Message, part: str = "", *, whole: bool = False) -> bytes:
    """The message, or the field of it that a rule's `response_body` names; `whole` writes zero values too."""
    document: Any = json_format.MessageToDict(message, always_print_fields_with_no_presence=whole)
    if part:
        field = message.DESCRIPTOR.fields_by_name[part]
        document = document.get(field.json_name, [] if field.is_repeated else {})
    return write_json(document)
