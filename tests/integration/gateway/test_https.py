"""The gateway over HTTPS, and its certificate renewed while it runs."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.cli.certs import directory as certs
from interlock.cli.supervisor.listening import answers_http
from interlock.common.addresses import parse_address
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.tls import CLEAR
from interlock.gateway.config import BACKENDS, Config, Https, Limits, load
from interlock.gateway.http.https import context, keep_current
from interlock.gateway.server import serve

NOW = SystemClock().now()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "certs"
    certs.init(made, NOW, days=2)
    return made


def of(place: Path, name: str = "gateway") -> Https:
    return Https(place / f"{name}.crt", place / f"{name}.key")


def trusting(place: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=place / "ca.crt")


@asynccontextmanager
async def gateway(
    https: Https | None, address: str = "127.0.0.1:0", limits: Limits | None = None
) -> AsyncIterator[str]:
    """Its address; the services behind it are nowhere."""
    reader, writer = os.pipe()
    nowhere = {name: parse_address("127.0.0.1:1") for name in BACKENDS}
    config = Config(
        parse_address(address),
        nowhere,
        limits=limits or Limits(),
        ready_fd=writer,
        https=https,
        grace_seconds=1.0,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serve(config, stop=stop, signals=False))
    with os.fdopen(reader) as file:
        ready = asyncio.create_task(asyncio.to_thread(file.readline))
        await asyncio.wait((ready, running), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            os.close(writer)
            await ready
            running.result()
        try:
            yield ready.result().strip()
        finally:
            stop.set()
            await running


async def test_it_answers_over_https_only(place: Path) -> None:
    async with gateway(of(place)) as address:
        async with httpx.AsyncClient(verify=trusting(place)) as client:
            answer = await client.get(f"https://{address}/v1/runs")
            assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")
            with pytest.raises(httpx.TransportError):
                await client.get(f"http://{address}/v1/runs")
        async with httpx.AsyncClient() as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get(f"https://{address}/v1/runs")


async def test_other_machines_reach_it_with_tls_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InterlockError) as caught:
        async with gateway(None, "0.0.0.0:0"):
            pass
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "INTERLOCK_GATEWAY_ADDRESS")
    async with gateway(of(place), "0.0.0.0:0"):
        pass
    monkeypatch.setenv(CLEAR, "true")
    async with gateway(None, "0.0.0.0:0"):
        pass


async def test_who_does_not_finish_the_handshake_is_sent_away(place: Path) -> None:
    async with gateway(of(place), limits=Limits(head_seconds=0.3)) as address, asyncio.timeout(30):
        host, _, port = address.rpartition(":")
        reader, silent = await asyncio.open_connection(host, int(port))
        assert await reader.read() == b"", "closed, long before asyncio's minute"
        silent.close()
        reader, slow = await asyncio.open_connection(host, int(port), ssl=trusting(place))
        slow.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        assert b" 408 " in await reader.readline()
        slow.close()


async def test_a_body_with_two_lengths_is_refused_and_nothing_after_it_is_read() -> None:
    second = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with gateway(None) as address, asyncio.timeout(30):
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + b"0\r\n\r\n" + second)
        said = await reader.read()
        writer.close()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"field":"content-length"' in said
    assert said.count(b"HTTP/1.1 ") == 1


async def test_whether_it_serves_is_asked_the_way_it_speaks(place: Path) -> None:
    async with gateway(of(place)) as address:
        assert await answers_http(address, https=True)
        assert not await answers_http(address)
    async with gateway(None) as address:
        assert await answers_http(address)
        assert not await answers_http(address, https=True)


async def serial(address: tuple[str, int], trusted: ssl.SSLContext) -> Any:
    _, writer = await asyncio.open_connection(*address, ssl=trusted)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_renewed_certificate_is_shown_without_a_restart(place: Path) -> None:
    files, trusted = of(place), trusting(place)
    made = context(files)
    watching = asyncio.create_task(keep_current(made, files, seconds=0.01))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=made)
    async with server, asyncio.timeout(60):
        address = server.sockets[0].getsockname()
        first = await serial(address, trusted)
        files.key.write_text("half a key")
        assert await serial(address, trusted) == first
        certs.renew(place, NOW + timedelta(seconds=1), days=3)
        while await serial(address, trusted) == first:
            pass
    watching.cancel()


@pytest.mark.parametrize("spoilt", ["cert", "key"])
async def test_files_that_do_not_fit_are_refused(place: Path, spoilt: str) -> None:
    getattr(of(place), spoilt).write_text("x")
    with pytest.raises(InterlockError) as caught:
        context(of(place))
    assert caught.value.field == "INTERLOCK_GATEWAY_TLS_CERT"
    with pytest.raises(InterlockError):
        context(Https(place / "gateway.crt", place / "client.key"))


def test_the_environment_names_both_files_or_none() -> None:
    assert load({}).https is None
    both = {"INTERLOCK_GATEWAY_TLS_CERT": "/a.crt", "INTERLOCK_GATEWAY_TLS_KEY": "/a.key"}
    assert load(both).https == Https(Path("/a.crt"), Path("/a.key"))
    for name in both:
        with pytest.raises(InterlockError) as caught:
            load({key: value for key, value in both.items() if key != name})
        assert caught.value.field == name
