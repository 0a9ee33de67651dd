"""Names and texts on the wire: proto strings are UTF-8, file names are bytes."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from interlock.common.clock import parse_rfc3339


def wire(text: str) -> str:
    """A name for a proto string: bytes that are not UTF-8 (surrogate escapes) appear as `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def duration(microseconds: int) -> Duration:
    """A Duration of so many microseconds."""
    value = Duration()
    value.FromMicroseconds(microseconds)
    return value


def timestamp(text: str) -> Timestamp:
    """A Timestamp from RFC 3339 text."""
    value = Timestamp()
    value.FromDatetime(parse_rfc3339(text))
    return value
