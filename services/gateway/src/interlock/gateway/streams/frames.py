"""How the messages of a stream are written: Server-Sent Events, JSON lines, or plain bytes.

Events: `id:` is the message's cursor, `data:` its JSON; a heartbeat is an event named `heartbeat`, an error one named
`error` with the problem, the end one named `end`. A client that comes back with `Last-Event-ID` goes on after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from interlock.common.errors import InterlockError
from interlock.gateway import problems
from interlock.gateway.api.methods import Method
from interlock.gateway.problems import HttpError
from interlock.gateway.transcode.document import write_json
from interlock.gateway.transcode.response import to_json

CURSOR = "cursor"
RETRY_MILLIS = 1000
EVENTS, LINES, BYTES = "text/event-stream", "application/x-ndjson", "application/octet-stream"


class Frames(Protocol):
    """One way to write a stream."""

    media_type: str

    def message(self, message: Message) -> bytes:
        """One message of the rpc."""
        ...

    def alive(self) -> bytes:
        """A sign of life; empty where the form has none."""
        ...

    def failure(self, error: InterlockError, request_id: str) -> bytes:
        """Why the stream ends before its end; empty where the form cannot say it."""
        ...

    def end(self) -> bytes:
        """That everything was said."""
        ...


class EventFrames:
    """Server-Sent Events, as the HTML standard describes them."""

    media_type = EVENTS

    def message(self, message: Message) -> bytes:
        name = b"event: heartbeat\n" if is_heartbeat(message) else b""
        cursor = getattr(message, CURSOR, "")
        place = b"id: " + str(cursor).encode() + b"\n" if cursor else b""
        return name + place + b"data: " + to_json(message) + b"\n\n"

    def alive(self) -> bytes:
        return b": still here\n\n"

    def failure(self, error: InterlockError, request_id: str) -> bytes:
        return b"event: error\ndata: " + write_json(problems.problem(error, request_id)) + b"\n\n"

    def end(self) -> bytes:
        return b"event: end\ndata: {}\n\n"


class LineFrames:
    """One JSON document a line; an error is a last line `{"error": problem}`."""

    media_type = LINES

    def message(self, message: Message) -> bytes:
        return to_json(message) + b"\n"

    def alive(self) -> bytes:
        return b""

    def failure(self, error: InterlockError, request_id: str) -> bytes:
        return write_json({"error": problems.problem(error, request_id)}) + b"\n"

    def end(self) -> bytes:
        return b""


class ByteFrames:
    """The `data` of each message, one after the other: a bundle or an archive as a file."""

    media_type = BYTES

    def message(self, message: Message) -> bytes:
        data: bytes = getattr(message, "data")  # noqa: B009 (a field of whatever message this is)
        return data

    def alive(self) -> bytes:
        return b""

    def failure(self, error: InterlockError, request_id: str) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""


def chosen(method: Method, headers: Mapping[str, str]) -> Frames:
    """The form that `Accept` asks for; events when it does not say. Raises a problem of status 406 for another one."""
    accepted = [part.split(";")[0].strip().lower() for part in headers.get("accept", "*/*").split(",")]
    for media_type in accepted:
        if media_type in (EVENTS, "*/*", "text/*"):
            return EventFrames()
        if media_type in (LINES, "application/jsonl", "application/json", "application/*"):
            return LineFrames()
        if media_type == BYTES and carries_bytes(method):
            return ByteFrames()
    kinds = [EVENTS, LINES, *([BYTES] if carries_bytes(method) else [])]
    raise HttpError(406, f"This stream can be had as {' or '.join(kinds)}.", field="accept")


def carries_bytes(method: Method) -> bool:
    """Whether the stream is a file in pieces."""
    field = method.output.fields_by_name.get("data")
    return field is not None and field.type == FieldDescriptor.TYPE_BYTES


def is_heartbeat(message: Message) -> bool:
    """Whether a message of a stream with a cursor says nothing but where the stream is."""
    fields = message.DESCRIPTOR.fields_by_name
    if CURSOR not in fields:
        return not message.ListFields()
    return not any(_says_something(field) for field, _ in message.ListFields())


def _says_something(field: Any) -> bool:
    kind = field.message_type
    return field.is_repeated or (kind is not None and kind.full_name != "google.protobuf.Timestamp")
