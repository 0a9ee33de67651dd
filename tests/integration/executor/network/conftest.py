"""A proxy in this process, and hosts on 127.0.0.1 that it may reach by names that a test resolves."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from interlock.executor.sandbox.network.addresses import IPAddress
from interlock.executor.sandbox.network.proxy import Proxy
from interlock.executor.sandbox.network.rules import Attempt, Bounds, Rules

LOOPBACK = ("127.0.0.0/8",)


@dataclass
class Names:
    """A resolver: each name's answers, one look-up after the other, the last one for ever."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, name: str, port: int) -> list[IPAddress]:
        self.asked.append(name)
        left = self.answers.get(name)
        if not left:
            raise OSError("no such name")
        found = left.pop(0) if len(left) > 1 else left[0]
        return [ipaddress.ip_address(each) for each in found]


@dataclass
class Host:
    """A server that keeps what it got and answers with what it is told, then as `serve` says."""

    port: int
    got: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def host(behaviour: Any = None) -> AsyncIterator[Host]:
    """One on 127.0.0.1. `behaviour(host, reader, writer)`; by default it echoes until the end."""

    async def echo(known: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            known.got.append(data)
            writer.write(data)
            await writer.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.connections += 1
        try:
            await (behaviour or echo)(known, reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    known = Host(server.sockets[0].getsockname()[1])
    async with server:
        yield known


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes) -> bytes:
        """Sends a request's head and returns the status line of the answer; empty when there is none."""
        self.writer.write(data)
        return (await self.reader.readline()).strip()

    async def refused(self, data: bytes) -> bytes:
        """Sends a request's head, reads the whole answer, hangs up as a client does, and returns the status line."""
        status = await self.ask(data)
        await self.rest()
        return status

    async def turned_away(self, where: str) -> bytes:
        """Asks for a tunnel that there will not be: see `refused`."""
        return await self.refused(f"CONNECT {where} HTTP/1.1\r\n\r\n".encode())

    async def rest(self) -> bytes:
        """What is left of an answer; then hangs up, as a client does."""
        left = await self.reader.read()
        self.writer.close()
        return left

    async def tunnel(self, where: str) -> bytes:
        """Asks for a tunnel and reads the answer's head."""
        status = await self.ask(f"CONNECT {where} HTTP/1.1\r\n\r\n".encode())
        if b"200" in status:
            assert await self.reader.readline() == b"\r\n"
        return status


class Fixture:
    """The proxy, its names and what it told."""

    def __init__(self, names: Names) -> None:
        self.names, self.told = names, list[Attempt]()
        self.stack = AsyncExitStack()
        self.proxy: Proxy
        self.port = 0
        self.changed = asyncio.Event()

    async def start(self, *hosts: str, ranges: tuple[str, ...] = LOOPBACK, **bounds: int) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.proxy = Proxy(Rules(hosts, ranges, (), Bounds(**bounds)), self.names, self._tell)
        self.serving = asyncio.create_task(self.proxy.serve(listener))

    def _tell(self, attempt: Attempt) -> None:
        self.told.append(attempt)
        self.changed.set()

    async def until(self, count: int) -> list[Attempt]:
        """What was told, once there are so many."""
        while len(self.told) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.told

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.stack.callback(writer.close)
        return Client(reader, writer)

    async def close(self) -> None:
        await self.stack.aclose()
        self.serving.cancel()
        await asyncio.wait((self.serving,))
        await self.proxy.finish(0)


@pytest.fixture
async def proxy() -> AsyncIterator[Fixture]:
    made = Fixture(Names())
    async with asyncio.timeout(60):
        yield made
        await made.close()


@pytest.fixture
def make_host() -> Any:
    return host
