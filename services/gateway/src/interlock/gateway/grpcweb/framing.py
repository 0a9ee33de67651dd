"""gRPC-Web on the wire (grpc/grpc: doc/PROTOCOL-WEB.md): frames of a flag, a length and that many bytes.

Flag 0 is a message, 0x80 the trailers as HTTP/1.1 header lines. The text form is the same in base64.
"""

from __future__ import annotations

import base64
import binascii
import struct
from urllib.parse import quote

import grpc

from interlock.common.errors import InterlockError, Reason
from interlock.common.status import DETAILS_KEY, status_code, to_status

BINARY, TEXT = "application/grpc-web", "application/grpc-web-text"
_HEAD = struct.Struct(">BI")
_TRAILERS = 0x80
_ENCODINGS = ("", "+proto")


def is_grpc_web(media_type: str) -> bool:
    """Whether a request speaks gRPC-Web with protobuf messages."""
    return any(media_type == form + encoding for form in (BINARY, TEXT) for encoding in _ENCODINGS)


def is_text(media_type: str) -> bool:
    """Whether it is the form in base64."""
    return media_type.startswith(TEXT)


def message_of(body: bytes, *, text: bool) -> bytes:
    """The one message of a request. Raises INVALID_ARGUMENT when it is not exactly one uncompressed frame."""
    if text:
        try:
            body = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise _malformed("it is not base64") from None
    if len(body) < _HEAD.size:
        raise _malformed("it is shorter than a frame's head")
    flag, length = _HEAD.unpack_from(body)
    if flag != 0:
        raise _malformed("it is compressed, or no message")
    if len(body) != _HEAD.size + length:
        raise _malformed("it is not exactly one frame")
    return body[_HEAD.size :]


def message_frame(message: bytes) -> bytes:
    """A frame with a message."""
    return _HEAD.pack(0, len(message)) + message


def trailers(error: InterlockError | None, request_id: str) -> bytes:
    """The last frame: the status, and with an error its message and rich details."""
    lines = {"grpc-status": "0"}
    if error is not None:
        status = to_status(error, request_id=request_id)
        code = grpc.StatusCode.UNIMPLEMENTED if _is_unimplemented(error) else status_code(error)
        lines = {
            "grpc-status": str(code.value[0]),
            # Percent-encoded UTF-8, as gRPC has it over HTTP/2.
            "grpc-message": quote(status.message, safe=" !\"#$&'()*+,-./:;<=>?@[]^_`{|}~"),
            DETAILS_KEY: base64.b64encode(status.SerializeToString()).decode(),
        }
    lines["x-request-id"] = request_id
    block = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
    return _HEAD.pack(_TRAILERS, len(block)) + block


def unimplemented(path: str) -> InterlockError:
    """The error for an rpc that cannot be asked this way."""
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{path[:200]} cannot be called by gRPC-Web.",
        metadata={"grpc_code": grpc.StatusCode.UNIMPLEMENTED.name},
        fix="Call an rpc of interlock.v1 without a stream of requests.",
    )


def _is_unimplemented(error: InterlockError) -> bool:
    return error.metadata.get("grpc_code") == grpc.StatusCode.UNIMPLEMENTED.name


def _malformed(why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT, f"The body is not a gRPC-Web request: {why}.", field="body"
    )
