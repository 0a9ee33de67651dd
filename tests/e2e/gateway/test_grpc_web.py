"""gRPC-Web, frame by frame: both forms, errors in the trailers, and bodies that are no requests."""

from __future__ import annotations

import base64
import struct
from typing import Any

import httpx
import pytest
from google.rpc import status_pb2
from tests.e2e.gateway.conftest import Gateway

from interlock.common.status import from_status
from interlock.v1 import orchestrator_pb2 as o

PATH = "/interlock.v1.Orchestrator/"


def frame(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return struct.pack(">BI", 0, len(raw)) + raw


def frames(body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """The messages, and the trailers."""
    messages = []
    while body:
        flag, length = struct.unpack_from(">BI", body)
        content, body = body[5 : 5 + length], body[5 + length :]
        if flag == 0x80:
            assert body == b"", "the trailers are last"
            lines = content.decode().split("\r\n")
            return messages, dict(line.split(": ", 1) for line in lines if line)
        messages.append(content)
    raise AssertionError("no trailers")


def call(gateway: Gateway, method: str, body: bytes, **headers: str) -> tuple[list[bytes], dict[str, str]]:
    kind = {"content-type": "application/grpc-web+proto", **headers}
    answer = gateway.http.post(
        method if method.startswith("/") else PATH + method, content=body, headers=kind
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind["content-type"]
    text = kind["content-type"].startswith("application/grpc-web-text")
    return frames(_decoded(answer.content) if text else answer.content)


def _decoded(content: bytes) -> bytes:
    """Frames in base64 one after the other: each padded by itself."""
    groups = [content[at : at + 4] for at in range(0, len(content), 4)]
    return b"".join(base64.b64decode(group) for group in groups)


@pytest.mark.parametrize("form", ["application/grpc-web", "application/grpc-web+proto"])
def test_a_call(gateway: Gateway, form: str) -> None:
    messages, trailers = call(
        gateway, "ListRuns", frame(o.ListRunsRequest(page_size=1)), **{"content-type": form}
    )
    assert len(messages) == 1
    o.ListRunsResponse.FromString(messages[0])
    assert trailers["grpc-status"] == "0"


def test_a_call_in_text(gateway: Gateway) -> None:
    body = base64.b64encode(frame(o.ListRunsRequest(page_size=1)))
    kind = {"content-type": "application/grpc-web-text+proto"}
    messages, trailers = call(gateway, "ListRuns", body, **kind)
    assert (len(messages), trailers["grpc-status"]) == (1, "0")


def test_an_error_carries_its_details(gateway: Gateway) -> None:
    messages, trailers = call(gateway, "GetRun", frame(o.GetRunRequest(run_id="run-none")))
    assert (messages, trailers["grpc-status"]) == ([], "5")
    status = status_pb2.Status.FromString(base64.b64decode(trailers["grpc-status-details-bin"]))
    error = from_status(status)
    assert error is not None
    assert (error.reason, error.field) == ("RUN_NOT_FOUND", "run_id")


def test_a_stream(gateway: Gateway) -> None:
    run = gateway.run({"readFile": {"path": "a.txt"}})
    messages, trailers = call(gateway, "WatchRun", frame(o.WatchRunRequest(run_id=run)))
    seqs = [m.event.seq for m in map(o.WatchRunResponse.FromString, messages) if m.HasField("event")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert trailers["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "3"), (b"\0\0\0\0", "3"), (b"\0\0\0\0\5abc", "3"), (b"\1\0\0\0\0", "3"), (b"\0\0\0\0\0" * 2, "3"),
     (b"\0\0\0\0\1\xff", "3")],
)  # fmt: skip
def test_what_is_no_request_is_refused(gateway: Gateway, body: bytes, code: str) -> None:
    messages, trailers = call(gateway, "GetRun", body)
    assert (messages, trailers["grpc-status"]) == ([], code)


@pytest.mark.parametrize(
    "path", ["/interlock.v1.Orchestrator/Nothing", "/interlock.v1.Executor/Session", "/x/y"]
)
def test_what_cannot_be_called_is_unimplemented(gateway: Gateway, path: str) -> None:
    assert call(gateway, path, frame(o.GetRunRequest()))[1]["grpc-status"] == "12"


def test_nobody_gets_in_without_a_token(gateway: Gateway) -> None:
    headers = {"content-type": "application/grpc-web+proto"}
    for token in ({}, {"authorization": "Bearer wrong"}):
        answer = httpx.post(
            gateway.url + PATH + "ListRuns", content=frame(o.ListRunsRequest()), headers={**headers, **token}
        )
        assert frames(answer.content)[1]["grpc-status"] == "16"
