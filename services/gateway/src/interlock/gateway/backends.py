"""The services behind the gateway: one channel each, shared by all requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from interlock.common.addresses import Address
from interlock.common.client import Channel, channel, error_from_rpc
from interlock.gateway.api.catalog import backend_of
from interlock.gateway.forwarding import Metadata

Local = Callable[[str, bytes, Metadata, float], Awaitable[bytes]]
"""Answers an rpc by its name: request and response as bytes."""

_HEALTH_SECONDS = 2.0
_EOF: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs


class Backends:
    """Calls rpcs by path with messages as bytes. Failures are InterlockErrors."""

    def __init__(self, addresses: Mapping[str, Address]) -> None:
        self._channels: dict[str, Channel] = {
            name: channel(each, service=name) for name, each in addresses.items()
        }
        self._local: dict[str, Local] = {}

    def channel(self, name: str) -> Channel:
        """A service's channel, for generated stubs."""
        return self._channels[name]

    def serve(self, service: str, local: Local) -> None:
        """Answer the calls of a proto service in this process."""
        self._local[service] = local

    async def close(self) -> None:
        """End every call that is still under way."""
        await asyncio.gather(*(each.close() for each in self._channels.values()))

    async def unary(
        self, service: str, path: str, request: bytes, metadata: Metadata, seconds: float
    ) -> bytes:
        """One request, one response. Raises what the service raised, or UNAVAILABLE, DEADLINE_EXCEEDED."""
        if local := self._local.get(service):
            return await local(path.rpartition("/")[2], request, metadata, seconds)
        name = backend_of(service)
        try:
            answer: bytes = await self._channels[name].unary_unary(path)(
                request, timeout=seconds, metadata=metadata
            )
            return answer
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, name) from None

    def stream(
        self, service: str, path: str, request: bytes, metadata: Metadata, seconds: float | None
    ) -> Stream:
        """One request, many responses. Close what is returned."""
        name = backend_of(service)
        call = self._channels[name].unary_stream(path)(request, timeout=seconds, metadata=metadata)
        return Stream(call, name)

    async def health(self) -> dict[str, bool]:
        """Which services say that they serve."""
        names = list(self._channels)
        answers = await asyncio.gather(*(self._serves(name) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _serves(self, name: str) -> bool:
        stub = health_pb2_grpc.HealthStub(self._channels[name])
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


class Stream:
    """A server-streaming call. Nothing is read ahead of `next`, so a slow reader slows the sender, not the gateway."""

    def __init__(self, call: Any, service: str) -> None:
        self._call = call
        self._service = service
        self._reading: asyncio.Task[Any] | None = None

    async def next(self, seconds: float) -> bytes | None:
        """The next message; None at the end. Raises TimeoutError after `seconds`; the next call goes on waiting."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait((self._reading,), timeout=seconds)
        if not done:
            raise TimeoutError
        reading, self._reading = self._reading, None
        try:
            message = reading.result()
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error, self._service) from None
        return None if message is _EOF else bytes(message)

    async def close(self) -> None:
        """Cancel the call, if it has not ended."""
        self._call.cancel()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
