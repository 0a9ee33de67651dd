"""A server-streaming rpc asked over HTTP.

Nothing is queued here: the next message is read when the last one has been taken over by the connection, whose own
buffer is bounded. A client that stops reading is cut off after a while and comes back with its last cursor; one that
goes away cancels the rpc.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from google.protobuf.message import Message

from interlock.common.errors import InterlockError, Reason
from interlock.gateway import forwarding
from interlock.gateway.api.methods import Binding, Method
from interlock.gateway.backends import Backends, Stream
from interlock.gateway.calls import request_message
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.streams.frames import CURSOR, EVENTS, RETRY_MILLIS, Frames, chosen

LAST_EVENT_ID: Final = "last-event-id"

_FIRST_SECONDS = 1.0
"""How long the status waits for a first message: an rpc that fails at once is answered with the error's own status."""

_HEADERS = (("cache-control", "no-store"), ("x-accel-buffering", "no"))


class Pump(Protocol):
    """Carries the messages of one stream to one client."""

    async def run(self) -> None:
        """To the stream's end."""
        ...

    async def break_off(self, error: InterlockError) -> None:
        """Say why it ends before."""
        ...


class Streaming:
    """Answers with streams, until `stop`."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream; clients come back with their cursors, to this gateway or another one."""
        self._stopping.set()

    async def answer(
        self, exchange: Exchange, method: Method, binding: Binding, variables: dict[str, str]
    ) -> None:
        """Stream the rpc's messages."""
        metadata = forwarding.metadata(exchange.headers, exchange.request_id)
        timeout = None
        if forwarding.TIMEOUT in exchange.headers:
            timeout = forwarding.deadline(exchange.headers, 0, float("inf"))
        frames = chosen(method, exchange.headers)
        message = await request_message(exchange, method, binding, variables)
        resumed = _resume(message, exchange.headers.get(LAST_EVENT_ID, ""))
        stream = self._backends.stream(
            method.service, method.path, message.SerializeToString(), metadata, timeout
        )
        await self.carry(exchange, stream, _Pump(exchange, method, frames, stream, resumed))

    async def carry(self, exchange: Exchange, stream: Stream, pump: Pump) -> None:
        """Run a pump until its stream ends, the client goes away, or the gateway stops; then close the stream."""
        try:
            await exchange.unless_gone(self._until_stopped(pump))
        finally:
            await stream.close()

    async def _until_stopped(self, pump: Pump) -> None:
        pumping = asyncio.ensure_future(pump.run())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((pumping, stopping), return_when=asyncio.FIRST_COMPLETED)
            if pumping.done():
                return pumping.result()
        finally:
            for task in (pumping, stopping):
                task.cancel()
            await asyncio.gather(pumping, stopping, return_exceptions=True)
        await pump.break_off(
            InterlockError(Reason.UNAVAILABLE, "The gateway is stopping; come back with the last cursor.")
        )


class _Pump:
    """Messages of one stream to one client."""

    def __init__(
        self, exchange: Exchange, method: Method, frames: Frames, stream: Stream, resumed: bool
    ) -> None:
        self._exchange = exchange
        self._method = method
        self._frames = frames
        self._stream = stream
        self._resumed = resumed

    async def run(self) -> None:
        """To the stream's end. Before the first byte an error is raised; after it, it is the last thing said."""
        raw: bytes | None = b""
        waited = False
        try:
            raw = await self._stream.next(_FIRST_SECONDS)
        except TimeoutError:
            waited = True
        if raw is None and self._resumed and self._frames.media_type == EVENTS:
            # What a browser understands as: do not come back.
            await self._exchange.answer(204, "", b"")
            return
        await self._start()
        try:
            while raw is not None:
                if not waited:
                    await self._exchange.write(self._frames.message(self._method.response(raw)))
                raw, waited = await self._next()
        except InterlockError as error:
            await self.break_off(error)
        else:
            await self._exchange.write(self._frames.end(), more=False)

    async def break_off(self, error: InterlockError) -> None:
        """Say why the stream ends here; where it has not begun, the error is the answer."""
        if not self._exchange.status:
            raise error
        said = self._frames.failure(error, self._exchange.request_id)
        if said:
            await self._exchange.write(said, more=False)
        else:
            # A file must not look complete.
            self._exchange.abort()

    async def _start(self) -> None:
        await self._exchange.start(200, [("content-type", self._frames.media_type), *_HEADERS])
        if self._frames.media_type == EVENTS:
            await self._exchange.write(f"retry: {RETRY_MILLIS}\n\n".encode())

    async def _next(self) -> tuple[bytes | None, bool]:
        """The next message, or a sign of life while there is none."""
        try:
            return await self._stream.next(self._exchange.limits.heartbeat_seconds), False
        except TimeoutError:
            if alive := self._frames.alive():
                await self._exchange.write(alive)
            return b"", True


def _resume(message: Message, last_event_id: str) -> bool:
    """Let the rpc go on where the client was. True when it does."""
    if not last_event_id or CURSOR not in message.DESCRIPTOR.fields_by_name:
        return False
    setattr(message, CURSOR, last_event_id)
    return True
