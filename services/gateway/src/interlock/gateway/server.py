"""Wiring: configuration to a running gateway, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Iterator
from socket import socket
from typing import Any

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from interlock.common import logs, tasks, tls
from interlock.common.clock import SystemClock
from interlock.common.ids import UlidIds
from interlock.common.listening import announce, withdraw
from interlock.gateway import console, health, pages
from interlock.gateway.app import App
from interlock.gateway.backends import Backends
from interlock.gateway.config import Config
from interlock.gateway.http import https
from interlock.gateway.http.guard import Hosts
from interlock.gateway.http.listening import bind
from interlock.gateway.http.protocol import Connection
from interlock.gateway.rest.service import SERVICE, AgentRuns
from interlock.gateway.signin import SignIn
from interlock.gateway.streams.streaming import Streaming

_log = logs.get("server")
_EXPOSED = ("x-request-id", "retry-after", "grpc-status", "grpc-message", "grpc-status-details-bin")


async def serve(config: Config, *, stop: asyncio.Event | None = None, signals: bool = True) -> None:
    """Run the gateway until a signal or `stop`. Raises InterlockError when it cannot start."""
    stopping, hurry = stop or asyncio.Event(), asyncio.Event()
    backends = Backends(config.backends)
    backends.serve(SERVICE, AgentRuns(backends))
    streaming = Streaming(backends)
    tls.check_clear(config.address, config.https is not None, "INTERLOCK_GATEWAY_ADDRESS")
    secure = https.context(config.https) if config.https else None
    listener, address = bind(config.address)
    app = _application(config, backends, streaming)
    server = _Server(_uvicorn(config, app, secure), config.limits.head_seconds)
    with _signals(stopping, hurry) if signals else contextlib.nullcontext():
        watching = asyncio.ensure_future(_renewed(secure, config))
        try:
            running = asyncio.ensure_future(server.serve([listener]))
            await _started(server, running)
            announce(address, config.ready_file, config.ready_fd, None)
            _log.info("serving", address=str(address))
            await _until(stopping, running)
            await _drained(server, streaming, running, hurry)
        finally:
            await tasks.stop(watching)
            withdraw(config.ready_file)
            listener.close()
            await backends.close()
            _log.info("stopped")


def _application(config: Config, backends: Backends, streaming: Streaming) -> Any:
    clock = SystemClock()
    hosts = Hosts(config.address, config.hosts)
    signing_in = SignIn(config.provider, hosts, clock)
    app = App(
        backends,
        streaming,
        hosts,
        config.limits,
        {**health.pages(backends), **pages.pages(), **console.pages(), **signing_in.pages()},
        signing_in.posts(),
        clock,
        UlidIds(clock),
    )
    if not config.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=config.origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


async def _renewed(secure: ssl.SSLContext | None, config: Config) -> None:
    if secure is not None and config.https is not None:
        await https.keep_current(secure, config.https)


def _uvicorn(config: Config, app: Any, secure: ssl.SSLContext | None) -> uvicorn.Config:
    limits = config.limits
    made = uvicorn.Config(
        app,
        http=Connection.made(limits.head_seconds, limits.connections),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_keep_alive=int(limits.idle_seconds) or 1,
        timeout_graceful_shutdown=int(config.grace_seconds) or 1,
    )
    made.load()
    made.ssl = secure  # ours, so that its certificate can be changed
    return made


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, with a bound on TLS handshakes; says when it takes requests."""

    def __init__(self, config: uvicorn.Config, handshake_seconds: float) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._handshake_seconds = handshake_seconds

    async def startup(self, sockets: list[socket] | None = None) -> None:
        # uvicorn would leave a client a minute for its handshake, which its own limits know nothing of.
        await super().startup([])
        loop = asyncio.get_running_loop()
        for each in sockets or ():
            server = await loop.create_server(
                self._connection,
                sock=each,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self._handshake_seconds if self.config.ssl else None,
                backlog=self.config.backlog,
            )
            self.servers.append(server)
        self.up.set()

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _started(server: _Server, running: asyncio.Task[None]) -> None:
    up = asyncio.ensure_future(server.up.wait())
    await asyncio.wait((up, running), return_when=asyncio.FIRST_COMPLETED)
    up.cancel()
    if running.done():
        running.result()


async def _until(stopping: asyncio.Event, running: asyncio.Task[None]) -> None:
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((waiting, running), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _drained(
    server: _Server, streaming: Streaming, running: asyncio.Task[None], hurry: asyncio.Event
) -> None:
    """No new connections; streams end; requests under way get the grace period, which a second signal ends."""
    _log.info("draining")
    streaming.stop()
    server.should_exit = True
    hurried = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait((running, hurried), return_when=asyncio.FIRST_COMPLETED)
        server.force_exit = True
        await running
    finally:
        hurried.cancel()


@contextlib.contextmanager
def _signals(stopping: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def handle() -> None:
        (hurry if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
