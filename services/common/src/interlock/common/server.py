"""The gRPC server every service runs: interceptors, health, reflection, limits, readiness and drain.

    async def main() -> None:
        await serve(ServerSpec("executor", service_address("executor"), [(servicer, add_fn, full_name)], token))

`serve` returns after SIGTERM or SIGINT: health becomes NOT_SERVING, `on_drain` ends long streams, calls under way
get `grace_seconds`, then `on_stop` runs. A second signal cuts the grace short.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_reflection.v1alpha import reflection

from interlock.common import logs, tls
from interlock.common.access.guard import Guard, asking, shared_only
from interlock.common.access.scope import Closed, Scope
from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel
from interlock.common.clock import SystemClock
from interlock.common.health import SERVICE as HEALTH_SERVICE
from interlock.common.health import Health
from interlock.common.ids import UlidIds
from interlock.common.interceptors.access_log import AccessLog
from interlock.common.interceptors.authentication import Authentication
from interlock.common.interceptors.authorization import Authorization
from interlock.common.interceptors.chain import Chain
from interlock.common.interceptors.codec import TRANSPORT_SLACK, Codec
from interlock.common.interceptors.errors import ErrorMapping
from interlock.common.interceptors.tracing import Tracing
from interlock.common.interceptors.validation import Validation
from interlock.common.listening import announce, bind, withdraw
from interlock.common.tls import TlsFiles

Hook = Callable[[], Awaitable[None]]
Service = tuple[Any, Callable[[Any, Any], None], str]
"""A servicer, the generated `add_…Servicer_to_server`, and the service's full name."""

_log = logs.get("server")


@dataclass(frozen=True)
class ServerSpec:
    """Everything `serve` needs.

    Attributes:
        name: the service's short name, for example `executor`.
        address: where to listen; port 0 takes a free one.
        services: what to serve.
        token: the accepted bearer token, or several with the master token first.
        on_start: runs after the port is bound and before calls are taken; a failure ends `serve`.
        on_drain: runs after NOT_SERVING and before the grace period; ends the service's long streams.
        on_stop: runs last, also when `on_start` failed.
        max_message_bytes: largest request or response message.
        max_concurrent_rpcs: calls beyond it are refused with RESOURCE_EXHAUSTED.
        grace_seconds: how long calls under way may take at a drain.
        untraced: `interlock.v1.Service/Method` names that get no span.
        ready_file: written atomically with the bound address once calls are taken, and removed at the end.
        ready_fd: an inherited descriptor the same line is written to; closed afterwards.
        on_ready: called with the bound address at the same moment.
        health: switch it to say that the service cannot work at present.
        guard: tells callers apart; by default the shared token's holders, and with `orchestrator` also everyone else.
        orchestrator: where issued tokens are asked about, and refusals are recorded.
        scope: looks at the calls of those whose token is limited to labels; by default they may make none.
        tls: certificates on both sides of each connection, by default as the environment names them; without, the
            port is in the clear. A unix socket needs none.
    """

    name: str
    address: Address | str
    services: Sequence[Service]
    token: str | Sequence[str] = ""
    on_start: Hook | None = None
    on_drain: Hook | None = None
    on_stop: Hook | None = None
    max_message_bytes: int = 16 * 1024 * 1024
    max_concurrent_rpcs: int = 4096
    grace_seconds: float = 10.0
    untraced: frozenset[str] = frozenset()
    ready_file: Path | None = None
    ready_fd: int | None = None
    on_ready: Callable[[Address], None] | None = None
    health: Health = field(default_factory=Health)
    guard: Guard | None = None
    orchestrator: Address | str | None = None
    scope: Scope = field(default_factory=Closed)
    tls: TlsFiles | None = field(default_factory=tls.from_env)

    @property
    def mutual(self) -> TlsFiles | None:
        """The certificates of the port; None where it has none."""
        return None if _address(self).is_unix else self.tls


async def serve(spec: ServerSpec, *, stop: asyncio.Event | None = None, signals: bool = True) -> None:
    """Run a server until a signal or `stop`. Raises InterlockError when it cannot start."""
    stopping = stop or asyncio.Event()
    hurry = asyncio.Event()
    with _signals(stopping, hurry) if signals else contextlib.nullcontext():
        async with running(spec, hurry=hurry):
            await stopping.wait()


@contextlib.asynccontextmanager
async def running(spec: ServerSpec, *, hurry: asyncio.Event | None = None) -> AsyncIterator[Address]:
    """A started server for the time of the block; gives the bound address. Drains at the end."""
    async with _guard(spec) as guard, _served(build(spec, guard), spec, hurry) as address:
        yield address


@contextlib.asynccontextmanager
async def _served(
    server: grpc.aio.Server, spec: ServerSpec, hurry: asyncio.Event | None
) -> AsyncIterator[Address]:
    try:
        address = _bound(server, spec)
        if spec.on_start is not None:
            await spec.on_start()
        await server.start()
        await spec.health.open()
        announce(address, spec.ready_file, spec.ready_fd, spec.on_ready)
        _log.info("serving", address=str(address))
        yield address
        await _drain(server, spec, hurry)
    finally:
        withdraw(spec.ready_file)
        await server.stop(None)
        if spec.on_stop is not None:
            await spec.on_stop()
        _log.info("stopped")


def _bound(server: grpc.aio.Server, spec: ServerSpec) -> Address:
    address, files = _address(spec), spec.mutual
    tls.check_clear(address, files is not None, f"INTERLOCK_{spec.name.upper()}_ADDRESS")
    return bind(server, address, tls.server_credentials(files) if files else None)


@contextlib.asynccontextmanager
async def _guard(spec: ServerSpec) -> AsyncIterator[Guard]:
    if spec.guard is not None or spec.orchestrator is None:
        yield spec.guard or shared_only(spec.token)
        return
    token = spec.token if isinstance(spec.token, str) else spec.token[0]
    async with (
        channel(spec.orchestrator, token, service="orchestrator", tls=spec.tls) as opened,
        asking(opened, spec.token, SystemClock()) as guard,
    ):
        yield guard


def build(spec: ServerSpec, guard: Guard) -> grpc.aio.Server:
    """The configured server, neither bound nor started."""
    clock = SystemClock()
    chain = Chain(
        outer=[
            Tracing(spec.untraced),
            AccessLog(clock, UlidIds(clock)),
            ErrorMapping(),
            Authentication(guard.authenticator, clock, certificates=spec.mutual is not None),
        ],
        codec=Codec(spec.max_message_bytes),
        inner=[Authorization(guard.denials, spec.scope), Validation()],
    )
    server = grpc.aio.server(
        interceptors=[chain],
        options=_options(spec.max_message_bytes, spec.max_concurrent_rpcs),
        maximum_concurrent_rpcs=spec.max_concurrent_rpcs,
    )
    names = [name for _, _, name in spec.services]
    for servicer, add, _ in spec.services:
        add(servicer, server)
    spec.health.add_to(server, names)
    reflection.enable_server_reflection([*names, HEALTH_SERVICE, reflection.SERVICE_NAME], server)
    return server


def _options(max_message_bytes: int, most_rpcs: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes + TRANSPORT_SLACK),
        ("grpc.max_send_message_length", max_message_bytes + TRANSPORT_SLACK),
        # A provider's token that lists somebody's groups takes up to 16 KiB.
        ("grpc.max_metadata_size", 24 * 1024),
        # Two servers on one port would share its calls silently.
        ("grpc.so_reuseport", 0),
        # As many as may be under way may come at once, as after a restart: beyond these gRPC cancels calls untyped.
        ("grpc.server.max_pending_requests", most_rpcs),
        ("grpc.server.max_pending_requests_hard_limit", most_rpcs),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


async def _drain(server: Any, spec: ServerSpec, hurry: asyncio.Event | None) -> None:
    _log.info("draining", grace_seconds=spec.grace_seconds)
    await spec.health.close()
    if spec.on_drain is not None:
        await spec.on_drain()
    stopped = asyncio.ensure_future(server.stop(spec.grace_seconds))
    hurried = asyncio.ensure_future((hurry or asyncio.Event()).wait())
    try:
        await asyncio.wait((stopped, hurried), return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            await server.stop(None)
        await stopped
    finally:
        hurried.cancel()


@contextlib.contextmanager
def _signals(stopping: asyncio.Event, hurry: asyncio.Event) -> Any:
    loop = asyncio.get_running_loop()

    def handle() -> None:
        (hurry if stopping.is_set() else stopping).set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def _address(spec: ServerSpec) -> Address:
    return parse_address(spec.address) if isinstance(spec.address, str) else spec.address
