"""A small service with one method of each of the four shapes, over google.protobuf.Struct.

What a method does follows from the request's `do` field, so that a test scripts it from the client side.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from interlock.common import telemetry
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity

SERVICE = "interlock.v1.Echo"
SHAPES = ("Unary", "ServerStream", "ClientStream", "Both")


def message(**values: Any) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


class Echo:
    """Echoes, fails, waits or grows, as asked."""

    def __init__(self, onward: Any = None) -> None:
        self.onward = onward
        """Channel to another Echo, for `do: forward`."""
        self.released = asyncio.Event()
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[dict[str, Any]] = []

    async def unary(self, request: Struct, context: Any) -> Struct:
        return await self.act(request, context)

    async def server_stream(self, request: Struct, context: Any) -> AsyncIterator[Struct]:
        for _ in range(int(request["times"]) if "times" in request else 2):
            yield await self.act(request, context)

    async def client_stream(self, requests: AsyncIterator[Struct], context: Any) -> Struct:
        last = message(empty=True)
        async for request in requests:
            last = await self.act(request, context)
        return last

    async def both(self, requests: AsyncIterator[Struct], context: Any) -> AsyncIterator[Struct]:
        async for request in requests:
            yield await self.act(request, context)

    async def writer(self, request: Struct, context: Any) -> None:
        await context.write(await self.act(request, context))

    async def act(self, request: Struct, context: Any) -> Struct:
        values = dict(request)
        self.seen.append(values)
        match values.get("do"):
            case "fail":
                raise InterlockError(Reason.RUN_NOT_FOUND, "There is no run run-1.", field="run_id")
            case "crash":
                raise ZeroDivisionError("secret text of a driver")
            case "abort":
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "chosen by the handler")
            case "wait":
                self.entered.set()
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "forward":
                with telemetry.span("forwarding"):
                    (answer,) = await call(self.onward, "Unary", message(text="onward"))
                return answer
            case "grow":
                return message(text="x" * int(values["size"]))
        return message(subject=current_identity().subject, text=str(values.get("text", "")))


def add_to_server(echo: Echo, server: Any) -> None:
    codec = {"request_deserializer": Struct.FromString, "response_serializer": Struct.SerializeToString}
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(echo.unary, **codec),
        "ServerStream": grpc.unary_stream_rpc_method_handler(echo.server_stream, **codec),
        "ClientStream": grpc.stream_unary_rpc_method_handler(echo.client_stream, **codec),
        "Both": grpc.stream_stream_rpc_method_handler(echo.both, **codec),
        "Writer": grpc.unary_stream_rpc_method_handler(echo.writer, **codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def call(channel: Any, shape: str, *requests: Struct, **options: Any) -> list[Struct]:
    """Call the method of a shape with the requests; the responses as a list."""
    codec = {"request_serializer": Struct.SerializeToString, "response_deserializer": Struct.FromString}
    path = f"/{SERVICE}/{shape}"
    if shape == "Unary":
        return [await channel.unary_unary(path, **codec)(requests[0], **options)]
    if shape in ("ServerStream", "Writer"):
        return [item async for item in channel.unary_stream(path, **codec)(requests[0], **options)]
    if shape == "ClientStream":
        return [await channel.stream_unary(path, **codec)(_each(requests), **options)]
    return [item async for item in channel.stream_stream(path, **codec)(_each(requests), **options)]


async def _each(requests: tuple[Struct, ...]) -> AsyncIterator[Struct]:
    for request in requests:
        yield request
