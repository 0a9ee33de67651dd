"""The rules declared in the protos (protovalidate), enforced on every request message.

Handlers of client-streaming rpcs take messages from the iterator they are given; each one is checked as it is
taken, and the first bad one ends the call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import protovalidate

from interlock.common.errors import InterlockError, Reason, Violation
from interlock.common.interceptors.base import Call, Rpc


class Validation:
    """Refuses requests that break a rule, listing every field that does."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the check around a call."""
        if rpc.is_infrastructure:
            return proceed
        collect = self._validator.collect_violations

        async def unary(request: Any, context: Any) -> Any:
            violations = collect(request)
            if violations:
                raise failed(violations)
            return await proceed(request, context)

        async def stream(requests: AsyncIterator[Any], context: Any) -> Any:
            return await proceed(_checked(requests, collect), context)

        return stream if rpc.request_streaming else unary


async def _checked(requests: AsyncIterator[Any], collect: Any) -> AsyncIterator[Any]:
    async for request in requests:
        violations = collect(request)
        if violations:
            raise failed(violations)
        yield request


def validate(message: Any) -> None:
    """Check one message outside an rpc, for example a plan file. Raises VALIDATION_FAILED."""
    violations = protovalidate.collect_violations(message)
    if violations:
        raise failed(violations)


def failed(violations: list[Any]) -> InterlockError:
    """The error that lists protovalidate's findings: path of the field, and which rule it breaks."""
    found = [_violation(violation.proto) for violation in violations]
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
