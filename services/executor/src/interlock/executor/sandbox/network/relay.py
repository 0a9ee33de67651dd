"""Bytes both ways between two connections, counted and bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from interlock.executor.sandbox.network.greeting import HANDSHAKE, Unreadable, named_site
from interlock.executor.sandbox.network.hosts import printable
from interlock.executor.sandbox.network.rules import Attempt

_PIECE: Final = 64 * 1024
_LEFT_OPEN: Final = 10.0
_TLS: Final = bytes((HANDSHAKE,))


class Cut(Exception):
    """A connection that must end now; `reason` and `detail` as in Attempt."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass
class Meter:
    """What all connections of a step may still move, bytes."""

    left: int

    def take(self, count: int) -> None:
        """Raises Cut(byte_limit)."""
        self.left -= count
        if self.left < 0:
            raise Cut("byte_limit")


@dataclass
class Wire:
    """One end: a connected stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def over(cls, connected: socket.socket, limit: int = _PIECE) -> Wire:
        """A connected socket, which is this object's now."""
        return cls(*await asyncio.open_connection(sock=connected, limit=limit))

    def abort(self) -> None:
        """Closes at once, whatever is still to be sent."""
        self.writer.transport.abort()


class Relay:
    """One tunnel: both directions until both have ended, one breaks, or nothing moves for `idle` seconds.

    An end that only stops sending (half-close) is passed on as that. A client that keeps its side open after the host
    has closed its own has some seconds for what it still sends. TLS in a tunnel must be for the host it leads to.
    """

    def __init__(self, client: Wire, host: Wire, attempt: Attempt, meter: Meter, idle: float) -> None:
        self._client, self._host, self._attempt, self._meter, self._idle = client, host, attempt, meter, idle
        self._moved = asyncio.get_running_loop().time()

    async def run(self, body: int | None = None) -> None:
        """Until the end. `body`: so many bytes are still to come from the client, and nothing after them.

        Raises Cut, OSError.
        """
        up = self._up() if body is None else self._body(body)
        tasks = [asyncio.create_task(up), asyncio.create_task(self._down())]
        try:
            await self._watch(tasks, both=body is None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, tasks: list[asyncio.Task[None]], *, both: bool) -> None:
        loop = asyncio.get_running_loop()
        pending: set[asyncio.Task[None]] = set(tasks)
        while pending and (both or tasks[1] in pending):
            idle = self._idle if tasks[1] in pending else min(self._idle, _LEFT_OPEN)
            left = self._moved + idle - loop.time()
            if left <= 0:
                raise Cut("idle")
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _up(self) -> None:
        if greeting := await self._greeting():
            self._sent(len(greeting))
            self._host.writer.write(greeting)
            await self._host.writer.drain()
            await self._copy(self._client.reader, self._host.writer, self._sent)
        self._host.writer.write_eof()

    async def _greeting(self) -> bytes:
        """What the client says first, held until it is known whom it is for. Raises Cut(other_site)."""
        said = await self._client.reader.read(_PIECE)
        if said[:1] != _TLS:
            return said
        try:
            while (site := named_site(said)) is None:
                self._moved = asyncio.get_running_loop().time()
                if not (more := await self._client.reader.read(_PIECE)):
                    raise Unreadable("it is cut off")
                said += more
        except Unreadable as error:
            raise Cut("other_site", f"The TLS greeting was not passed on: {error}.") from None
        if site not in ("", self._attempt.host):
            raise Cut("other_site", f"The TLS greeting names {printable(site)}.")
        return said

    async def _down(self) -> None:
        await self._copy(self._host.reader, self._client.writer, self._received)
        self._client.writer.write_eof()

    async def _body(self, left: int) -> None:
        while left:
            data = await self._client.reader.read(min(left, _PIECE))
            if not data:
                raise Cut("broken")
            left -= len(data)
            self._sent(len(data))
            self._host.writer.write(data)
            await self._host.writer.drain()
        if await self._client.reader.read(1):
            # A second request could be meant for another host, and this connection leads to the first one's.
            raise Cut("second_request")

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
    ) -> None:
        while data := await reader.read(_PIECE):
            count(len(data))
            writer.write(data)
            await writer.drain()

    def _sent(self, count: int) -> None:
        self._move(count)
        self._attempt.sent += count

    def _received(self, count: int) -> None:
        self._move(count)
        self._attempt.received += count

    def _move(self, count: int) -> None:
        self._moved = asyncio.get_running_loop().time()
        self._meter.take(count)
