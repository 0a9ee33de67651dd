"""`grpc.health.v1` for a server and each of its services, switched as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # not listed in its __all__

SERVICE = "grpc.health.v1.Health"

_Status = health_pb2.HealthCheckResponse


class Health:
    """Starts as NOT_SERVING. `set` may be called at any time; after `drain` it stays NOT_SERVING."""

    def __init__(self) -> None:
        self._servicer = _Servicer()
        self._names: tuple[str, ...] = ("",)
        self._wanted = True
        self._open = False

    def add_to(self, server: Any, services: Iterable[str]) -> None:
        """Register with a server, for the server as a whole ("") and each named service."""
        self._names = ("", *services)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, serving: bool) -> None:
        """Say whether the service can do its work. Before the server has started it is only remembered."""
        self._wanted = serving
        if self._open:
            await self._publish(serving)

    async def open(self) -> None:
        """The server has started: publish what was last set (serving, when nothing was)."""
        self._open = True
        await self._publish(self._wanted)

    async def close(self) -> None:
        """NOT_SERVING from now on; watchers are told and their streams end, so that a drain need not wait."""
        await self._publish(False)
        await self._servicer.enter_graceful_shutdown()
        self._servicer.draining.set()

    @property
    def serving(self) -> bool:
        """What was last published."""
        return self._open and self._wanted

    async def _publish(self, serving: bool) -> None:
        status = _Status.SERVING if serving else _Status.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)


class _Servicer(health_aio.HealthServicer):  # type: ignore[misc]  # the package has no types
    """The package's servicer, starting NOT_SERVING, whose watches end when the server drains."""

    def __init__(self) -> None:
        super().__init__()
        self._server_status[""] = _Status.NOT_SERVING
        self.draining = asyncio.Event()

    async def Watch(  # noqa: N802 (named by the proto)
        self, request: Any, context: Any
    ) -> None:
        watch = asyncio.ensure_future(super().Watch(request, context))
        drained = asyncio.ensure_future(self.draining.wait())
        try:
            await asyncio.wait((watch, drained), return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            for task in (watch, drained):
                task.cancel()
            await asyncio.gather(watch, drained, return_exceptions=True)
