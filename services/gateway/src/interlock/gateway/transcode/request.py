"""An HTTP request to a message, by the rules of `google.api.http`.

Variables of the path and parameters of the query name fields by dotted path (`filter.run_id`), in proto or JSON
spelling; a repeated field is given several times, a map entry as `labels[key]=value`. The body is the field that
the rule names, or with `*` everything that the path does not bind; there is no query then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from interlock.common.errors import InterlockError, Reason
from interlock.gateway.api.methods import Binding, Method, field_at, field_named
from interlock.gateway.transcode.document import bad_body, parse_json
from interlock.gateway.transcode.texts import bad_value, from_text

_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_.]{0,200})(?:\[([^\[\]]{1,300})\])?")
_CHAIN = re.compile(r"Failed to parse (\w+) field: ")
_UNKNOWN = re.compile(r'no field named "([^"]{1,200})"')
_MAX_DEPTH = 50


def build(
    method: Method,
    binding: Binding,
    variables: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    body: bytes,
) -> Message:
    """The request message. Raises INVALID_ARGUMENT naming the field, parameter or place in the body at fault."""
    document = _of_body(method, binding, body)
    for name, text in query:
        if binding.body == "*":
            raise bad_value(name, "this call takes its fields in the body, not in the query")
        _put_parameter(document, method.input, name, text)
    for path, text in variables.items():
        value = from_text(field_at(method.input, path), text, path)
        _put_variable(document, method.input, path, value)
    return to_message(document, method.request())


def to_message(document: Any, message: Message, within: str = "") -> Message:
    """A document as a message; `within` is the field of the request that holds it.

    Raises INVALID_ARGUMENT naming the place in it that does not fit.
    """
    try:
        json_format.ParseDict(document, message, max_recursion_depth=_MAX_DEPTH)
        # Text that cannot be written as UTF-8 is found only when it is.
        message.SerializeToString()
    except json_format.ParseError as error:
        raise _misfit(error, message.DESCRIPTOR.name, within) from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise bad_body("a value in it does not fit its field") from None
    return message


def _of_body(method: Method, binding: Binding, body: bytes) -> dict[str, Any]:
    if not binding.body:
        if body:
            raise bad_body("this call takes none")
        return {}
    if not body:
        return {}
    document = parse_json(body)
    if binding.body != "*":
        return {field_at(method.input, binding.body).name: document}
    if not isinstance(document, dict):
        raise bad_body("it is not an object")
    return document


def _put_parameter(document: dict[str, Any], message: Descriptor, name: str, text: str) -> None:
    found = _PARAMETER.fullmatch(name)
    if found is None:
        raise _unknown(name)
    try:
        field = field_at(message, found[1])
    except ValueError:
        raise _unknown(name) from None
    holder = _holder(document, message, found[1])
    if found[2] is not None:
        _put_entry(holder, field, found[2], text, name)
    elif field.is_repeated:
        if _is_map(field):
            raise bad_value(name, f"write {name}[key]=value")
        holder.setdefault(field.name, []).append(from_text(field, text, name))
    elif field.name in holder:
        raise bad_value(name, "it is given twice")
    else:
        holder[field.name] = from_text(field, text, name)


def _put_entry(holder: dict[str, Any], field: FieldDescriptor, key: str, text: str, name: str) -> None:
    if not _is_map(field):
        raise bad_value(name, "it is not a map")
    entries = holder.setdefault(field.name, {})
    if key in entries:
        raise bad_value(name, "it is given twice")
    assert field.message_type is not None
    entries[key] = from_text(field.message_type.fields_by_name["value"], text, name)


def _put_variable(document: dict[str, Any], message: Descriptor, path: str, value: Any) -> None:
    """Set a field that the path names. The same field in the body must say the same."""
    holder = _holder(document, message, path)
    field = field_at(message, path)
    for spelling in {field.name, field.json_name}:
        if spelling in holder and holder.pop(spelling) != value:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"The path and the body name two different {path}.",
                field=path,
                fix="Leave it out of the body.",
            )
    holder[field.name] = value


def _holder(document: dict[str, Any], message: Descriptor, path: str) -> dict[str, Any]:
    """The object in the document that holds the last field of a path; made where it is missing."""
    for name in path.split(".")[:-1]:
        field = field_named(message, name)
        assert field is not None
        assert field.message_type is not None
        key = field.json_name if field.json_name in document else field.name
        document = document.setdefault(key, {})
        if not isinstance(document, dict):
            raise bad_value(path, f"{name} is not an object")
        message = field.message_type
    return document


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _unknown(name: str) -> InterlockError:
    return bad_value(name, "there is no such parameter; /openapi.json lists those of each call")


def _misfit(error: json_format.ParseError, message: str, within: str) -> InterlockError:
    """protobuf's message says where, at its end (`at "CreateRunRequest.steps[0]"`) or in a chain at its beginning."""
    text = str(error).split("\n", 1)[0]
    field = ".".join(part for part in (within, _place(text, message)) if part)
    if unknown := _UNKNOWN.search(text):
        field = f"{field}.{unknown[1]}" if field else unknown[1]
        why = f"there is no field {field[:200]}"
    else:
        why = _CHAIN.sub("", text)[:300].rstrip(".")
        why = f"{field}: {why}" if field else why
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"The request does not fit {message}: {why}.",
        field=field[:200],
        fix="Correct it as /openapi.json describes it.",
    )


def _place(text: str, message: str) -> str:
    found = re.search(rf' at "?{message}\.?([\w.\[\]]*)', text)
    named = found[1].strip(".") if found else ""
    return named or ".".join(_CHAIN.findall(text))
