"""Bytes to messages and back, with typed errors for what gRPC itself would answer untyped.

gRPC answers a malformed request with INTERNAL and an oversized reply with a bare code. Working on bytes here,
a malformed request is INVALID_ARGUMENT and a message over the limit MESSAGE_TOO_LARGE, both with ErrorInfo.
Messages beyond the transport's own, slightly higher limit are refused by gRPC before they are in memory.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from interlock.common.errors import InterlockError, Reason
from interlock.common.interceptors.base import Call, Rpc

TRANSPORT_SLACK = 4 * 1024 * 1024
"""How far gRPC's own limit lies above ours, in bytes: between the two the caller gets a typed error."""


class Codec:
    """Decodes requests and encodes responses, each at most `max_bytes` long."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def innermost(self, rpc: Rpc, handler: Any) -> Call:
        """The handler itself in the common shape: `async (request message(s), context) -> message or None`."""
        if not rpc.response_streaming:
            return _unary_response(
                rpc, handler.stream_unary if rpc.request_streaming else handler.unary_unary
            )
        behaviour = handler.stream_stream if rpc.request_streaming else handler.unary_stream
        encode = self._encoder(handler)
        if inspect.isasyncgenfunction(behaviour):
            return _generator(behaviour, encode)
        # The reader/writer style: the handler calls context.write() itself, with messages.
        return _writer(_coroutine_function(rpc, behaviour), encode)

    def wrap_messages(self, rpc: Rpc, handler: Any, proceed: Call) -> Call:
        """From bytes to bytes around a call that takes and returns messages."""
        decode = self._decoder(handler)
        encode = self._encoder(handler)

        async def unary(request: bytes, context: Any) -> Any:
            response = await proceed(decode(request), context)
            return None if response is None else encode(response)

        async def stream(requests: AsyncIterator[bytes], context: Any) -> Any:
            response = await proceed(_decoded(requests, decode), context)
            return None if response is None else encode(response)

        return stream if rpc.request_streaming else unary

    def _decoder(self, handler: Any) -> Callable[[bytes], Any]:
        deserialize, limit = handler.request_deserializer, self._max_bytes

        def decode(raw: bytes) -> Any:
            if len(raw) > limit:
                raise _too_large("request", len(raw), limit)
            if deserialize is None:
                return raw
            try:
                return deserialize(raw)
            except DecodeError:
                raise InterlockError(
                    Reason.INVALID_ARGUMENT, "The request is not a well-formed protobuf message."
                ) from None

        return decode

    def _encoder(self, handler: Any) -> Callable[[Any], bytes]:
        serialize, limit = handler.response_serializer, self._max_bytes

        def encode(message: Any) -> bytes:
            # What goes to many callers is encoded once, by the handler itself.
            raw: bytes = message if serialize is None or isinstance(message, bytes) else serialize(message)
            if len(raw) > limit:
                raise _too_large("response", len(raw), limit)
            return raw

        return encode


async def _decoded(requests: AsyncIterator[bytes], decode: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    async for raw in requests:
        yield decode(raw)


def _unary_response(rpc: Rpc, behaviour: Any) -> Call:
    call: Call = _coroutine_function(rpc, behaviour)

    async def unary(request: Any, context: Any) -> Any:
        response = await call(request, context)
        if response is None:
            raise TypeError(f"the handler of {rpc.name} returned nothing")
        return response

    return unary


def _generator(behaviour: Any, encode: Callable[[Any], bytes]) -> Call:
    async def stream(request: Any, context: Any) -> None:
        # At once, so that a client of a quiet stream knows that it is connected and allowed.
        await context.send_initial_metadata(())
        # aclosing: when the client goes away the handler's own cleanup runs now, not at garbage collection.
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(encode(response))

    return stream


def _writer(behaviour: Call, encode: Callable[[Any], bytes]) -> Call:
    async def stream(request: Any, context: Any) -> None:
        await behaviour(request, _EncodingContext(context, encode))

    return stream


class _EncodingContext:
    """The call's context, except that `write` takes messages."""

    def __init__(self, context: Any, encode: Callable[[Any], bytes]) -> None:
        self._context = context
        self._encode = encode

    async def write(self, message: Any) -> None:
        await self._context.write(self._encode(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _coroutine_function(rpc: Rpc, behaviour: Any) -> Any:
    if not inspect.iscoroutinefunction(behaviour):
        # A plain function would be run in a thread; everything here is on one loop.
        raise TypeError(f"the handler of {rpc.name} must be an async function")
    return behaviour


def _too_large(what: str, size: int, limit: int) -> InterlockError:
    return InterlockError(
        Reason.MESSAGE_TOO_LARGE,
        f"The {what} has {size} bytes; at most {limit} are allowed.",
        metadata={"size": str(size), "limit": str(limit)},
    )
