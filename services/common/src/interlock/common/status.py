"""InterlockError on the wire and back: `google.rpc.Status` with ErrorInfo, BadRequest, Help and RetryInfo.

AIP-193: every error carries ErrorInfo (reason, domain `interlock.v1`, metadata). Fields at fault travel in
BadRequest, what to do in Help, and a delay in RetryInfo when trying again may help. The whole stays below
MAX_STATUS_BYTES, because trailing metadata beyond 8 KiB makes common clients drop the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from interlock.common.errors import DOMAIN, InterlockError, Reason, Violation

DETAILS_KEY: Final = "grpc-status-details-bin"
MAX_STATUS_BYTES: Final = 5 * 1024
_MAX_MESSAGE = 1024
_MAX_VALUE = 256
_MAX_METADATA_VALUE = 1024  # a cursor must arrive whole
_MAX_METADATA_BYTES = 2048
_MAX_METADATA = 16
_MAX_VIOLATIONS = 32
_DEFAULT_RETRY_SECONDS = 1.0

_UNTYPED: Final[dict[grpc.StatusCode, Reason]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
    grpc.StatusCode.CANCELLED: Reason.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.RESOURCE_EXHAUSTED,
}


def status_code(error: InterlockError) -> grpc.StatusCode:
    """The gRPC code the error travels as."""
    return grpc.StatusCode[error.code]


def to_status(error: InterlockError, *, request_id: str = "") -> status_pb2.Status:
    """The rich status of an error. Long text is cut so that the status always arrives."""
    status = status_pb2.Status(code=status_code(error).value[0], message=_cut(error.message, _MAX_MESSAGE))
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    room = _MAX_METADATA_BYTES
    for key, value in list(error.metadata.items())[:_MAX_METADATA]:
        name, text = _cut(key, _MAX_VALUE), _cut(value, _MAX_METADATA_VALUE)
        room -= len(name.encode()) + len(text.encode())
        if room >= 0:
            info.metadata[name] = text
    if request_id:
        info.metadata["request_id"] = request_id
    status.details.add().Pack(info)
    link = error_details_pb2.Help.Link(
        description=_cut(error.fix, _MAX_VALUE), url=f"docs/errors/{error.reason.value}.md"
    )
    status.details.add().Pack(error_details_pb2.Help(links=[link]))
    if error.retryable:
        delay = _DEFAULT_RETRY_SECONDS if error.retry_after is None else error.retry_after
        retry = error_details_pb2.RetryInfo(retry_delay=_duration(delay))
        status.details.add().Pack(retry)
    _add_violations(status, error)
    return status


def trailing_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """What a server sends at the end of a call so that the client can read the rich status."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def from_status(status: status_pb2.Status) -> InterlockError | None:
    """The error a status was made from; None when it holds no ErrorInfo of this domain."""
    details = _Details(status)
    if details.info is None or details.info.domain != DOMAIN:
        return None
    try:
        reason = Reason(details.info.reason)
    except ValueError:
        # A newer server; its code still says what kind of failure it is.
        reason = _UNTYPED.get(_code(status.code), Reason.INTERNAL)
    single = len(details.violations) == 1 and reason is not Reason.VALIDATION_FAILED
    return InterlockError(
        reason,
        status.message,
        field=details.violations[0].field if single else "",
        fix=details.fix,
        metadata=dict(details.info.metadata),
        violations=() if single else details.violations,
        retry_after=details.retry_after,
    )


def error_from_rpc(error: grpc.aio.AioRpcError, service: str = "service") -> InterlockError:
    """The InterlockError behind a failed call.

    With a rich status it is the error the server raised. Without one (the server was not reached, the transport
    refused the message, or it is no Interlock server) the reason follows from the code, and `service` names the
    other side in the message; the transport's own text is not repeated.
    """
    for key, value in _pairs(error.trailing_metadata()):
        if key == DETAILS_KEY and isinstance(value, bytes):
            typed = _parse(value)
            if typed is not None:
                return typed
    code = error.code()
    details = error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return InterlockError(
            Reason.MESSAGE_TOO_LARGE, f"A message to or from the {service} is larger than is allowed."
        )
    reason = _UNTYPED.get(code, Reason.INTERNAL)
    return InterlockError(reason, _untyped_message(code, service), metadata={"grpc_code": code.name})


def _untyped_message(code: grpc.StatusCode, service: str) -> str:
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"The {service} cannot be reached."
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"The {service} did not answer within the deadline."
    if code is grpc.StatusCode.CANCELLED:
        return f"The call to the {service} was cancelled."
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"The {service} does not know this call; it may be an older version."
    return f"The {service} failed with {code.name}."


def _parse(raw: bytes) -> InterlockError | None:
    try:
        return from_status(status_pb2.Status.FromString(raw))
    except DecodeError:
        return None


def _add_violations(status: status_pb2.Status, error: InterlockError) -> None:
    """As many violations as fit; the last one says how many were left out."""
    violations = list(error.violations) or ([Violation(error.field, error.message)] if error.field else [])
    if not violations:
        return
    request = error_details_pb2.BadRequest()
    room = MAX_STATUS_BYTES - status.ByteSize() - _MAX_VALUE
    for index, entry in enumerate(_field_violations(violations)):
        room -= entry.ByteSize() + 4
        if room < 0 or index == _MAX_VIOLATIONS:
            left = len(violations) - index
            request.field_violations.add(field="", description=f"and {left} more, not listed")
            break
        request.field_violations.append(entry)
    status.details.add().Pack(request)


def _field_violations(
    violations: Iterable[Violation],
) -> Iterator[error_details_pb2.BadRequest.FieldViolation]:
    for field, description in violations:
        yield error_details_pb2.BadRequest.FieldViolation(
            field=_cut(field, _MAX_VALUE), description=_cut(description, _MAX_VALUE)
        )


class _Details:
    """The details of a status, unpacked; a second one of a kind is ignored."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.info: Any = None
        self.fix = ""
        self.retry_after: float | None = None
        self.violations: list[Violation] = []
        for packed in status.details:
            self._read(packed)

    def _read(self, packed: Any) -> None:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            self.info = self.info or _unpack(packed, error_details_pb2.ErrorInfo())
        elif packed.Is(error_details_pb2.Help.DESCRIPTOR):
            links = _unpack(packed, error_details_pb2.Help()).links
            self.fix = links[0].description if links else ""
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = _unpack(packed, error_details_pb2.RetryInfo()).retry_delay
            self.retry_after = delay.seconds + delay.nanos / 1e9
        elif packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = _unpack(packed, error_details_pb2.BadRequest())
            self.violations = [Violation(v.field, v.description) for v in request.field_violations]


def _unpack(packed: Any, message: Any) -> Any:
    packed.Unpack(message)
    return message


def _duration(seconds: float) -> Duration:
    nanos = max(0, round(seconds * 1e9))
    return Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def _code(number: int) -> grpc.StatusCode:
    for code in grpc.StatusCode:
        if code.value[0] == number:
            return code
    return grpc.StatusCode.UNKNOWN


def _pairs(metadata: Any) -> Iterable[tuple[str, str | bytes]]:
    # The stubs describe metadata as a mapping of single values; iterating gives pairs.
    return metadata or ()


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between characters."""
    # A lone surrogate (from an undecodable file name) cannot be sent and would make the reply fail.
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) > limit:
        raw = raw[: limit - 3].decode("utf-8", "ignore").encode() + "…".encode()
    return raw.decode("utf-8")
