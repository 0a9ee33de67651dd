"""The rules declared in the protos (protovalidate), and one for all text, enforced on every request message.

The one for all text: no NUL character, but in the content of files. No name, argument or variable of a process can
hold one, and no database keeps it as text.

Handlers of client-streaming rpcs take messages from the iterator they are given; each one is checked as it is
taken, and the first bad one ends the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from interlock.common.errors import InterlockError, Reason, Violation
from interlock.common.interceptors.base import Call, Rpc

CONTENT: Final = frozenset(
    {
        "interlock.v1.EditFileInput.new_content",
        "interlock.v1.EditFileInput.patch",
        "interlock.v1.ContextFile.content",
        "interlock.v1.ContextResult.text",
        "interlock.v1.DraftEditRequest.current_content",
    }
)
"""Fields that hold a file's text or what a step showed, with whatever characters that has."""

_MOST = 32
_Find = Callable[[Any], list[Violation]]


class Validation:
    """Refuses requests that break a rule, listing every field that does."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the check around a call."""
        if rpc.is_infrastructure:
            return proceed
        collect = self._validator.collect_violations

        def find(request: Any) -> list[Violation]:
            return _found(request, collect)

        async def unary(request: Any, context: Any) -> Any:
            violations = find(request)
            if violations:
                raise failed(violations)
            return await proceed(request, context)

        async def stream(requests: AsyncIterator[Any], context: Any) -> Any:
            return await proceed(_checked(requests, find), context)

        return stream if rpc.request_streaming else unary


async def _checked(requests: AsyncIterator[Any], find: _Find) -> AsyncIterator[Any]:
    async for request in requests:
        violations = find(request)
        if violations:
            raise failed(violations)
        yield request


def validate(message: Any) -> None:
    """Check one message outside an rpc, for example a plan file. Raises VALIDATION_FAILED."""
    violations = _found(message, protovalidate.collect_violations)
    if violations:
        raise failed(violations)


def _found(message: Any, collect: Callable[[Any], list[Any]]) -> list[Violation]:
    found = [_violation(violation.proto) for violation in collect(message)]
    # Few messages have a zero byte at all, and finding that out costs much less than looking at every field.
    if b"\0" in message.SerializeToString():
        for path in _with_nul(message, ""):
            found.append(Violation(path, "must not hold a NUL character"))
            if len(found) > _MOST:
                break
    return found


def _with_nul(message: Any, prefix: str) -> Iterator[str]:
    """Paths of the fields that hold a NUL and are no file's content."""
    for name, kind, repeated in _texts(message.DESCRIPTOR):
        path = f"{prefix}{name}"
        if kind == "message" and not repeated and not message.HasField(name):
            continue
        value = getattr(message, name)
        if kind == "map":
            yield from (f'{path}["{key}"]' for key in value if "\0" in f"{key}{value[key]}")
        elif kind == "message":
            for index, part in enumerate(value if repeated else [value]):
                if b"\0" in part.SerializeToString():  # most parts have none, also where a key of another has
                    yield from _with_nul(part, f"{path}[{index}]." if repeated else f"{path}.")
        elif repeated:
            yield from (f"{path}[{index}]" for index, text in enumerate(value) if "\0" in text)
        elif "\0" in value:
            yield path


@cache
def _texts(message: Descriptor) -> tuple[tuple[str, str, bool], ...]:
    """The fields of a type of message that are or may hold text: name, `text`, `map` or `message`, whether repeated."""
    found = []
    for field in message.fields:
        if field.full_name in CONTENT:
            continue
        if field.message_type is not None:
            kind = "map" if field.message_type.GetOptions().map_entry else "message"
            found.append((field.name, kind, field.is_repeated))
        elif field.type == FieldDescriptor.TYPE_STRING:
            found.append((field.name, "text", field.is_repeated))
    return tuple(found)


def failed(found: list[Violation]) -> InterlockError:
    """The error that lists what is wrong: path of the field, and which rule it breaks."""
    fields = ", ".join(dict.fromkeys(entry.field or "(message)" for entry in found[:5]))
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return InterlockError(
        Reason.VALIDATION_FAILED, f"The request is not valid: {fields}{more}.", violations=found
    )


def _violation(proto: Any) -> Violation:
    path = field_path(proto.field.elements) if proto.field is not None else ""
    return Violation(path, proto.message or f"breaks the rule {proto.rule_id}")


def field_path(elements: Any) -> str:
    """`steps[0].env["PATH"]`: the way protovalidate writes paths."""
    parts: list[str] = []
    for element in elements:
        parts.append(("." if parts else "") + (element.field_name or f"#{element.field_number}"))
        parts.append(_subscript(element))
    return "".join(parts)


def _subscript(element: Any) -> str:
    subscript = element.subscript
    if subscript is None:
        return ""
    if subscript.field == "string_key":
        return f'["{subscript.value}"]'
    return f"[{subscript.value}]"
