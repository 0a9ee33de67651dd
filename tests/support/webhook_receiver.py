"""A real HTTP server that takes webhooks: it answers as it is told to, and checks signatures on its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

STALL, REDIRECT, GARBAGE, FLOOD = 0, 307, -1, -2


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def told(self) -> tuple[str, str]:
        """Its type, and the run it is about."""
        found = self.document
        return found["type"], found["data"].get("approval", {}).get("runId", "")

    def is_signed_by(self, secret: str) -> bool:
        """As Standard Webhooks says, written from its text."""
        key = base64.b64decode(secret[len("whsec_") :])
        signed = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What came, and how each is answered: a status, STALL, GARBAGE or FLOOD."""

    url: str = ""
    answer: Callable[[Received], int] = lambda _: 200
    requests: list[Received] = field(default_factory=list)
    accepted: list[Received] = field(default_factory=list)
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[Receiver], bool], seconds: float = 60) -> None:
        """Until it holds; looked at after each request."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: condition(self))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
        received = Received(head[0].split(" ")[1], headers, body)
        status = self.answer(received)
        async with self._came:
            self.requests.append(received)
            if 200 <= status < 300:
                self.accepted.append(received)
            self._came.notify_all()
        if status == STALL:
            await reader.read()  # until the other side gives up
        elif status == GARBAGE:
            writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        elif status == FLOOD:
            writer.write(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 1_000_000)
        else:
            location = f"location: {self.url}/elsewhere\r\n" if status == REDIRECT else ""
            writer.write(f"HTTP/1.1 {status} Whatever\r\n{location}content-length: 0\r\n\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def receiving(
    answer: Callable[[Received], int] = lambda _: 200, *, secure: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """One on a free port of 127.0.0.1; over TLS with `secure`."""
    receiver = Receiver(answer=answer)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=secure)
    receiver.url = f"http{'s' if secure else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()
