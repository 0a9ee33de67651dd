"""Streams through real gateways: events, lines and bytes; resumption over restarts; clients that go or do not read."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path

import httpx
from tests.e2e.gateway.conftest import Gateway
from tests.support.gateways import Event, events, gateway_process

EVENTS = {"accept": "text/event-stream"}
LINES = {"accept": "application/x-ndjson"}


def commands(count: int) -> list[dict[str, object]]:
    """Steps that need nobody."""
    return [{"readFile": {"path": "a.txt"}} for _ in range(count)]


def seqs(found: list[Event]) -> list[int]:
    return [int(event.data["event"]["seq"]) for event in found if "event" in event.data]


async def test_a_run_is_watched_to_its_end(gateway: Gateway, http: httpx.AsyncClient) -> None:
    run = gateway.run(*commands(3))
    async with http.stream("GET", f"/v1/runs/{run}:watch", headers=EVENTS) as answer:
        found = [event async for event in events(answer)]
    assert found[-1].name == "end"
    length = int(gateway.get(f"/v1/runs/{run}")["run"]["journalLength"])
    assert seqs(found) == list(range(1, length + 1))
    assert all(event.id == event.data["cursor"] for event in found[:-1])
    async with http.stream("GET", f"/v1/runs/{run}:watch", headers=LINES) as answer:
        lines = [json.loads(line) async for line in answer.aiter_lines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["event"]["seq"] for line in lines if "event" in line] == [
        str(n) for n in range(1, length + 1)
    ]


async def test_whoever_has_seen_everything_is_told_not_to_come_back(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    run = gateway.run(*commands(1))
    async with http.stream("GET", f"/v1/runs/{run}:watch", headers=EVENTS) as answer:
        found = [event async for event in events(answer)]
    again = await http.get(f"/v1/runs/{run}:watch", headers={**EVENTS, "last-event-id": found[-2].id})
    assert (again.status_code, again.content) == (204, b"")


async def test_no_gap_and_no_duplicate_over_killed_gateways(
    gateway: Gateway, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A client that comes back with Last-Event-ID, each time to a new process, sees the journal once."""
    run = gateway.run(*commands(8), start=False)
    found: list[Event] = []
    address, started = "127.0.0.1:0", False
    while not found or found[-1].name != "end":
        async with gateway_process(gateway.up, tmp_path, address) as (child, address):
            resume = {"last-event-id": found[-1].id} if found else {}
            url = f"http://{address}/v1/runs/{run}:watch"
            async with http.stream("GET", url, headers={**EVENTS, **resume}) as answer:
                if not started:
                    started = True
                    gateway.post(f"/v1/runs/{run}:start", {})
                async for event in events(answer):
                    found.append(event)
                    if len(found) % 9 == 0:
                        break
            child.process.send_signal(signal.SIGKILL)
            await child.process.wait()
    length = int(gateway.get(f"/v1/runs/{run}")["run"]["journalLength"])
    assert length > 9
    assert seqs(found) == list(range(1, length + 1))


async def test_approvals_are_told_as_they_come_and_resumed(gateway: Gateway, http: httpx.AsyncClient) -> None:
    first = gateway.run({"editFile": {"path": "b", "newContent": "1"}})
    path = "/v1/approvals:subscribe"
    seen: list[Event] = []
    async with http.stream("GET", path, headers=EVENTS, params={"filter.run_id": first}) as answer:
        async for event in events(answer):
            seen.append(event)
            if "event" in event.data:
                break
    approval = seen[-1].data["event"]["approval"]
    decision = {"decision": {"reject": {}, "digest": approval["digest"]}}
    gateway.post(f"/v1/approvals/{approval['approvalId']}:decide", decision)
    resume = {**EVENTS, "last-event-id": seen[-1].id}
    async with http.stream("GET", path, headers=resume, params={"filter.run_id": first}) as answer:
        async for event in events(answer):
            if "event" in event.data:
                break
    assert event.data["event"]["kind"] == "APPROVAL_EVENT_KIND_RESOLVED"
    assert event.data["event"]["approval"]["state"] == "APPROVAL_STATE_REJECTED"


async def test_a_stream_that_fails_at_once_is_a_problem(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/runs/run-none:watch", headers=EVENTS)
    assert (answer.status_code, answer.json()["reason"]) == (404, "RUN_NOT_FOUND")
    answer = await http.get("/v1/approvals:subscribe", headers={**EVENTS, "last-event-id": "nonsense"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "CURSOR_INVALID")


async def test_a_bundle_is_a_file(gateway: Gateway, http: httpx.AsyncClient) -> None:
    run = gateway.run(*commands(1))
    await http.get(f"/v1/runs/{run}:watch")
    answer = await http.get(f"/v1/runs/{run}:exportJournal", headers={"accept": "application/octet-stream"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) > 3


async def test_heartbeats_are_told_apart_and_carry_the_cursor(gateway: Gateway, tmp_path: Path) -> None:
    async with (
        gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_HEARTBEAT_SECONDS="0.2") as (_, address),
        httpx.AsyncClient(headers=dict(gateway.http.headers), timeout=30) as http,
        http.stream("GET", f"http://{address}/v1/approvals:subscribe", headers=EVENTS) as answer,
    ):
        comments = 0
        async for line in answer.aiter_lines():
            comments += line.startswith(":")
            if comments == 3:
                break


async def test_who_goes_away_ends_the_rpc(gateway: Gateway, http: httpx.AsyncClient) -> None:
    run = gateway.run({"editFile": {"path": "b", "newContent": "1"}})
    headers = {**EVENTS, "x-request-id": f"gone-{run}"}
    async with http.stream("GET", f"/v1/runs/{run}:watch", headers=headers) as answer:
        async for event in events(answer):
            assert event
            break

    def ended() -> bool:
        lines = [line for line in gateway.up.log("orchestrator").splitlines() if f"gone-{run}" in line]
        return any(json.loads(line).get("code") == "CANCELLED" for line in lines)

    async with asyncio.timeout(30):
        while not ended():  # noqa: ASYNC110 (another process writes it)
            await asyncio.sleep(0.02)


async def test_who_does_not_read_is_cut_off(gateway: Gateway, tmp_path: Path) -> None:
    """Nothing is kept for it: the connection is cut, and the rpc with it."""
    files = {f"f{number}__txt": "x" * 2_000_000 for number in range(8)}
    workspace = gateway.workspace(**files)
    tree = gateway.get(f"/v1/workspaces/{workspace}")["workspace"]["headTree"]
    body = json.dumps({"format": "EXPORT_FORMAT_TAR", "items": [{"workspaceId": workspace, "tree": tree}]})
    async with gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_WRITE_SECONDS="0.3") as (
        child,
        address,
    ):
        host, _, port = address.partition(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            head = (
                "POST /v1/trees:export HTTP/1.1\r\nHost: localhost\r\nAccept: application/octet-stream\r\n"
                f"Authorization: Bearer {gateway.token}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            client.sendall((head + body).encode())
            await child.wait_for_log('"path": "/v1/trees:export", "status": 200')
            received = await asyncio.to_thread(_all_of, client)
        assert received < 8_000_000


def _all_of(client: socket.socket) -> int:
    """Bytes until the other side ends it, one way or the other."""
    size = 0
    try:
        while part := client.recv(1 << 20):
            size += len(part)
    except ConnectionError:
        pass
    return size


async def test_a_stopping_gateway_ends_its_streams_and_says_so(gateway: Gateway, tmp_path: Path) -> None:
    async with (
        gateway_process(gateway.up, tmp_path) as (child, address),
        httpx.AsyncClient(headers=dict(gateway.http.headers), timeout=30) as http,
        http.stream("GET", f"http://{address}/v1/approvals:subscribe", headers=EVENTS) as answer,
    ):
        found: list[Event] = []
        async for event in events(answer):
            if not found:
                child.process.send_signal(signal.SIGTERM)
            found.append(event)
        assert found[-1].name == "error"
        assert found[-1].data["reason"] == "UNAVAILABLE"
        assert await child.wait() == 0
