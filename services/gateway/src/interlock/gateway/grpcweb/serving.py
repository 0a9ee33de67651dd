"""gRPC-Web requests: the rpcs by their own names, messages passed through as they are."""

from __future__ import annotations

import base64

from interlock.common.errors import InterlockError
from interlock.gateway import forwarding
from interlock.gateway.api import catalog
from interlock.gateway.api.methods import Method
from interlock.gateway.backends import Backends, Stream
from interlock.gateway.grpcweb.framing import (
    is_text,
    message_frame,
    message_of,
    trailers,
    unimplemented,
)
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.streams.streaming import Streaming


class GrpcWeb:
    """Answers gRPC-Web. Whatever happens, the HTTP status is 200 and the trailers say what did."""

    def __init__(self, backends: Backends, streaming: Streaming) -> None:
        self._backends = backends
        self._streaming = streaming
        self._methods = {method.path: method for method in catalog.methods() if not method.client_streaming}

    async def answer(self, exchange: Exchange) -> None:
        """One rpc, unary or with a stream of responses."""
        reply = _Reply(exchange)
        try:
            await self._answer(exchange, reply)
        except InterlockError as error:
            await reply.end(error)

    async def _answer(self, exchange: Exchange, reply: _Reply) -> None:
        metadata = forwarding.metadata(exchange.headers, exchange.request_id)
        method = self._methods.get(exchange.raw_path)
        if method is None:
            raise unimplemented(exchange.raw_path)
        message = message_of(await exchange.body(), text=reply.text)
        if method.server_streaming:
            await self._stream(exchange, reply, method, message, metadata)
            return
        limits = exchange.limits
        seconds = forwarding.deadline(exchange.headers, limits.call_seconds, limits.longest_call_seconds)
        call = self._backends.unary(method.service, method.path, message, metadata, seconds)
        await reply.message(await exchange.unless_gone(call))
        await reply.end(None)

    async def _stream(
        self,
        exchange: Exchange,
        reply: _Reply,
        method: Method,
        message: bytes,
        metadata: forwarding.Metadata,
    ) -> None:
        seconds = None
        if forwarding.TIMEOUT in exchange.headers:
            seconds = forwarding.deadline(exchange.headers, 0, float("inf"))
        stream = self._backends.stream(method.service, method.path, message, metadata, seconds)
        await self._streaming.carry(exchange, stream, _Pump(exchange, stream, reply))


class _Reply:
    """The response, frame by frame."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.text = is_text(exchange.media_type)

    async def start(self) -> None:
        """Send the headers, if they are not sent."""
        if not self._exchange.status:
            await self._exchange.start(200, [("content-type", self._exchange.media_type)])

    async def message(self, raw: bytes) -> None:
        """Send a message."""
        await self.start()
        await self._exchange.write(self._form(message_frame(raw)))

    async def end(self, error: InterlockError | None) -> None:
        """Send the trailers."""
        await self.start()
        last = trailers(error, self._exchange.request_id)
        await self._exchange.write(self._form(last), more=False)

    def _form(self, frame: bytes) -> bytes:
        return base64.b64encode(frame) if self.text else frame


class _Pump:
    """Messages of one stream to one client."""

    def __init__(self, exchange: Exchange, stream: Stream, reply: _Reply) -> None:
        self._seconds = exchange.limits.heartbeat_seconds
        self._stream = stream
        self._reply = reply

    async def run(self) -> None:
        """To the stream's end."""
        await self._reply.start()
        while True:
            try:
                raw = await self._stream.next(self._seconds)
            except TimeoutError:
                continue
            if raw is None:
                break
            await self._reply.message(raw)
        await self._reply.end(None)

    async def break_off(self, error: InterlockError) -> None:
        """Say why the stream ends here."""
        await self._reply.end(error)
