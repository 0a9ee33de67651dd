"""Calls through a real gateway to real services: a run's life, ids and deadlines passed on, and what is refused."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from tests.e2e.gateway.conftest import Gateway
from tests.support.installation import wait_until

EDIT = {"editFile": {"path": "a.txt", "newContent": "b\n"}}


def test_a_run_from_its_workspace_to_its_end(gateway: Gateway) -> None:
    run = gateway.run(EDIT)
    found = wait_until(lambda: gateway.get("/v1/approvals", **{"filter.run_id": run}).get("approvals"))
    assert "preview" not in found[0]
    shown = gateway.get(f"/v1/approvals/{found[0]['approvalId']}")["approval"]
    assert "+b" in shown["preview"]["diff"]
    decision = {"decision": {"approve": {}, "digest": shown["digest"], "comment": "fine", "channel": "http"}}
    decided = gateway.post(f"/v1/approvals/{shown['approvalId']}:decide", decision)["approval"]
    assert decided["state"] == "APPROVAL_STATE_APPROVED"
    assert decided["decision"]["subject"] == "local"
    ended = wait_until(
        lambda: (run_ := gateway.get(f"/v1/runs/{run}")["run"])["state"] == "RUN_STATE_COMPLETED" and run_
    )
    assert ended["steps"][0]["state"] == "STEP_STATE_SUCCEEDED"
    assert ended["journalLength"] == str(int(ended["journalLength"])), "64-bit integers are text"
    file = gateway.get(f"/v1/workspaces/{ended['workspaceId']}/files:read", path="a.txt")
    assert file["data"] == "Ygo=", "bytes are base64"
    again = gateway.post(f"/v1/approvals/{shown['approvalId']}:decide", decision, status=400)
    assert again["reason"] == "APPROVAL_ALREADY_DECIDED"
    assert again["metadata"]
    assert again["fix"]


def test_a_repeated_request_gets_the_first_result(gateway: Gateway) -> None:
    body = {"goal": "once", "workspaceId": gateway.workspace(), "requestId": f"once-{gateway.workspace()}"}
    first = gateway.post("/v1/runs", body)["run"]["runId"]
    assert gateway.post("/v1/runs", body)["run"]["runId"] == first
    assert gateway.post("/v1/runs", {**body, "goal": "twice"}, status=409)["reason"] == "REQUEST_ID_REUSED"


def test_a_request_id_and_a_trace_go_through_all_of_it(gateway: Gateway) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"x-request-id": "mine-17", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = gateway.http.get("/v1/runs/run-none", headers=headers)
    assert answer.headers["x-request-id"] == "mine-17"
    assert answer.json()["request_id"] == "mine-17"
    assert '"request_id": "mine-17"' in gateway.up.log("orchestrator")
    body = {"goal": "traced", "workspaceId": gateway.workspace()}
    made = gateway.http.post("/v1/runs", json=body, headers=headers).json()["run"]
    assert made["traceId"] == trace


def test_a_deadline_is_the_callers(gateway: Gateway) -> None:
    answer = gateway.http.get("/v1/runs", headers={"grpc-timeout": "0S"})
    assert (answer.status_code, answer.json()["reason"]) == (504, "DEADLINE_EXCEEDED")
    answer = gateway.http.get("/v1/runs", headers={"grpc-timeout": "soon"})
    assert (answer.status_code, answer.json()["field"]) == (400, "grpc-timeout")


@pytest.mark.parametrize(
    ("method", "path", "status", "more"),
    [
        ("GET", "/v1/nothing", 404, {}),
        ("GET", "/v1/runs/", 404, {}),
        ("DELETE", "/v1/runs", 405, {}),
        ("POST", "/healthz", 405, {}),
        ("POST", "/v1/runs", 415, {"content": b"a=b", "headers": {"content-type": "text/plain"}}),
        ("POST", "/v1/runs", 400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        ("POST", "/v1/runs", 400, {"json": {"goal": "", "workspaceId": ""}}),
        ("POST", "/v1/runs", 413, {"content": b" " * (16 * 1024 * 1024 + 1)}),
        ("GET", "/v1/runs?page_size=-1", 400, {}),
        ("GET", "/v1/runs?%ff=1", 400, {}),
        ("GET", "/v1/runs?" + "&".join(f"a{n}=1" for n in range(1100)), 400, {}),
        ("GET", "/v1/runs/run-none:watch", 406, {"headers": {"accept": "image/png"}}),
        ("GET", "/v1/runs", 421, {"headers": {"host": "evil.example"}}),
    ],
)
def test_what_is_refused_is_a_problem(
    gateway: Gateway, method: str, path: str, status: int, more: dict[str, Any]
) -> None:
    answer = gateway.http.request(method, path, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert "Traceback" not in answer.text
    if status == 405:
        assert answer.headers["allow"]


def test_health_needs_no_token(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "serving"}
    ready = httpx.get(f"{gateway.url}/readyz").json()
    assert ready["services"] == dict.fromkeys(("orchestrator", "executor", "planner", "approval"), True)


def test_other_origins_get_nothing_by_default(gateway: Gateway) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    answer = gateway.http.options("/v1/runs", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_what_is_not_http_is_refused_as_a_problem(gateway: Gateway) -> None:
    host, _, port = gateway.up.endpoints["gateway"].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        said = b"".join(iter(lambda: plain.recv(65536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["status"] == 400


def test_headers_without_end_are_refused(gateway: Gateway) -> None:
    host, _, port = gateway.up.endpoints["gateway"].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
        said = plain.recv(65536)
    assert said.startswith(b"HTTP/1.1 400 ")


async def test_many_at_once(http: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(http.get("/v1/runs", params={"page_size": 1}) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
