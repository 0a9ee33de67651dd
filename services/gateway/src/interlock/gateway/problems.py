"""Errors as problem details (RFC 9457), with everything an InterlockError says."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason

MEDIA_TYPE: Final = "application/problem+json"

# The mapping of google/rpc/code.proto; 499 is a client that went away.
_STATUS: Final = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_OWN_STATUS: Final = {Reason.MESSAGE_TOO_LARGE: 413}


class HttpError(InterlockError):
    """A failure of HTTP itself, before any call was made: no such path, the wrong method, a strange host.

    Its problem has the type `about:blank`, and the HTTP status says what it is.
    """

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(more.pop("reason", Reason.INVALID_ARGUMENT), message, **more)
        self.status = status
        self.headers = headers or {}


def status_of(error: InterlockError) -> int:
    """The HTTP status an error travels as."""
    if isinstance(error, HttpError):
        return error.status
    if error.metadata.get("grpc_code") == "UNIMPLEMENTED":
        return 501
    return _OWN_STATUS.get(error.reason, _STATUS.get(error.code, 500))


def problem(error: InterlockError, request_id: str = "") -> dict[str, Any]:
    """The problem's members: those of RFC 9457, then ours; empty ones are left out."""
    status = status_of(error)
    metadata = dict(error.metadata)
    request_id = metadata.pop("request_id", "") or request_id
    generic = isinstance(error, HttpError)
    members = {
        "type": "about:blank" if generic else f"urn:interlock:error:{error.reason.value}",
        "title": _phrase(status) if generic else error.info.meaning,
        "status": status,
        "detail": error.message,
        "reason": error.reason.value,
        "code": error.code,
        "field": error.field,
        "fix": error.fix,
        "violations": [{"field": each.field, "description": each.description} for each in error.violations],
        "metadata": metadata,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    return {name: value for name, value in members.items() if value not in ("", [], {})}


def headers(error: InterlockError) -> dict[str, str]:
    """What the error adds to the response's headers."""
    found = dict(error.headers) if isinstance(error, HttpError) else {}
    if status_of(error) == 401:
        found["www-authenticate"] = 'Bearer realm="interlock"'
    if error.retryable:
        found["retry-after"] = str(max(1, math.ceil(error.retry_after or 1)))
    return found


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
