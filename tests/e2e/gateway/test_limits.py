"""What one client can take of a gateway, and what it allows to whom: each with a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.e2e.gateway.conftest import Gateway
from tests.support.gateways import gateway_process


async def said(address: str, sent: bytes) -> tuple[int, bytes]:
    """What an address answers to these bytes until it closes the connection: the status, and the body."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(30):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]) if head else 0, body


@asynccontextmanager
async def client(gateway: Gateway, address: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = dict(gateway.http.headers)
    async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers, timeout=30) as opened:
        yield opened


async def test_who_sends_nothing_or_too_slowly_is_sent_away(gateway: Gateway, tmp_path: Path) -> None:
    env = {"INTERLOCK_GATEWAY_HEAD_SECONDS": "0.3", "INTERLOCK_GATEWAY_BODY_SECONDS": "0.3"}
    async with gateway_process(gateway.up, tmp_path, **env) as (_, address):
        status, body = await said(address, b"")
        assert (status, json.loads(body)["status"]) == (408, 408)
        status, _ = await said(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert status == 408
        head = (
            f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {gateway.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        status, body = await said(address, head.encode())
        assert (status, json.loads(body)["detail"]) == (408, "The body did not arrive in time.")


async def test_a_second_request_on_a_connection_has_its_own_time(gateway: Gateway, tmp_path: Path) -> None:
    async with gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_HEAD_SECONDS="2") as (_, address):
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        clock = asyncio.get_running_loop()
        opened = clock.time()
        while clock.time() - opened < 2.5:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in await reader.readline()
            await reader.readuntil(b"}")
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        async with asyncio.timeout(20):
            assert b" 408 " in await reader.readline()
        writer.close()


async def test_one_request_more_than_the_limit_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    run = gateway.run({"editFile": {"path": "b", "newContent": "1"}})
    async with (
        gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_MAX_REQUESTS="2") as (_, address),
        client(gateway, address) as http,
        http.stream("GET", f"/v1/runs/{run}:watch") as first,
        http.stream("GET", f"/v1/runs/{run}:watch") as second,
    ):
        assert (first.status_code, second.status_code) == (200, 200)
        refused = await http.get("/v1/runs")
        assert (refused.status_code, refused.json()["reason"]) == (429, "RESOURCE_EXHAUSTED")
        assert refused.headers["retry-after"] == "1"
        assert (await http.get("/healthz")).status_code == 200, "it still says that it lives"


async def test_named_origins_may_call_and_others_may_not(gateway: Gateway, tmp_path: Path) -> None:
    ours = "https://console.example"
    async with (
        gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_ORIGINS=ours) as (_, address),
        client(gateway, address) as http,
    ):
        ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        allowed = await http.options("/v1/runs", headers={"origin": ours, **ask})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ours)
        assert "access-control-allow-credentials" not in allowed.headers
        strange = await http.options("/v1/runs", headers={"origin": "https://evil.example", **ask})
        assert strange.status_code == 400
        assert "access-control-allow-origin" not in strange.headers
        answer = await http.get("/v1/runs", headers={"origin": ours})
        assert answer.headers["access-control-allow-origin"] == ours
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_named_hosts(gateway: Gateway, tmp_path: Path) -> None:
    async with (
        gateway_process(gateway.up, tmp_path, INTERLOCK_GATEWAY_HOSTS="api.example") as (_, address),
        client(gateway, address) as http,
    ):
        for host, status in (("api.example", 200), ("api.example:443", 200), ("evil.example", 421)):
            assert (await http.get("/healthz", headers={"host": host})).status_code == status


async def test_a_unix_socket(gateway: Gateway, tmp_path: Path) -> None:
    path = f"{gateway.up.home}/gateway.sock"
    async with gateway_process(gateway.up, tmp_path, f"unix:{path}") as (child, address):
        assert address == f"unix:{path}"
        transport = httpx.AsyncHTTPTransport(uds=path)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/healthz")).status_code == 200
        assert Path(path).stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240 (a local file, once)
        child.process.send_signal(signal.SIGTERM)
        assert await child.wait() == 0


async def test_an_address_in_use_is_said(gateway: Gateway, tmp_path: Path) -> None:
    taken = gateway.up.endpoints["gateway"]
    with pytest.raises(AssertionError, match=f"Cannot listen on {taken}") as caught:
        async with gateway_process(gateway.up, tmp_path, taken):
            pass
    assert "Traceback" not in str(caught.value)


async def test_services_that_are_gone_are_said(gateway: Gateway, tmp_path: Path) -> None:
    env = {"INTERLOCK_ORCHESTRATOR_ADDRESS": "127.0.0.1:1"}
    async with gateway_process(gateway.up, tmp_path, **env) as (_, address), client(gateway, address) as http:
        answer = await http.get("/v1/runs")
        assert (answer.status_code, answer.json()["reason"]) == (503, "UNAVAILABLE")
        assert answer.json()["detail"] == "The orchestrator cannot be reached."
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["services"]["orchestrator"]) == (503, False)
        assert (await http.get("/healthz")).status_code == 200
