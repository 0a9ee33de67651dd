"""The ASGI application: every request passes here once, and leaves with an answer and a log line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.trace import SpanKind

from interlock.common import logs, telemetry
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids
from interlock.gateway import calls, forwarding
from interlock.gateway.api import catalog
from interlock.gateway.api.routes import Route, table
from interlock.gateway.backends import Backends
from interlock.gateway.config import Limits
from interlock.gateway.domain.table import Match
from interlock.gateway.grpcweb.framing import is_grpc_web
from interlock.gateway.grpcweb.serving import GrpcWeb
from interlock.gateway.http.exchange import ClientGone, Exchange
from interlock.gateway.http.guard import Hosts, Turns, check_framing
from interlock.gateway.problems import HttpError
from interlock.gateway.streams.streaming import Streaming

_log = logs.get("http")

Page = Callable[[Exchange], Awaitable[None]]
"""Answers a request for a fixed path that needs no credential."""


class App:
    """Finds what a request asks for, and has it answered.

    Args:
        pages: what is served by path alone, by GET: health, the API's description, the documentation.
        posts: the same by POST.
    """

    def __init__(
        self,
        backends: Backends,
        streaming: Streaming,
        hosts: Hosts,
        limits: Limits,
        pages: dict[str, Page],
        posts: dict[str, Page],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._backends = backends
        self._streaming = streaming
        self._hosts = hosts
        self._limits = limits
        self._pages = pages
        self._posts = posts
        self._clock = clock
        self._ids = ids
        self._turns = Turns(limits.requests)
        self._grpc_web = GrpcWeb(backends, streaming)
        self._table = table(catalog.methods())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._limits, "")
        exchange.request_id = forwarding.request_id(exchange.headers) or self._ids.new("req")
        exchange.always = [
            (forwarding.REQUEST_ID, exchange.request_id),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ]
        started = self._clock.monotonic()
        with logs.bound(request_id=exchange.request_id):
            try:
                await self._guarded(exchange)
            finally:
                _log.info(
                    "http",
                    method=exchange.method[:16],
                    path=exchange.raw_path[:300],
                    status=exchange.status,
                    ms=round((self._clock.monotonic() - started) * 1000, 3),
                )

    async def _guarded(self, exchange: Exchange) -> None:
        try:
            check_framing(exchange.headers)
            self._hosts.check(exchange.headers.get("host", ""))
            if page := self._pages.get(exchange.raw_path) if exchange.method in ("GET", "HEAD") else None:
                await page(exchange)
                return
            with self._turns.take():
                if exchange.method == "POST" and (post := self._posts.get(exchange.raw_path)):
                    await post(exchange)
                else:
                    await self._routed(exchange)
        except ClientGone:
            return
        except InterlockError as error:
            await self._failed(exchange, error)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 (the boundary: logged in full, hidden from the caller)
            _log.exception("a request failed unexpectedly", path=exchange.raw_path[:300])
            message = f"The gateway failed unexpectedly (request id {exchange.request_id})."
            await self._failed(exchange, InterlockError(Reason.INTERNAL, message))

    async def _failed(self, exchange: Exchange, error: InterlockError) -> None:
        if exchange.status:
            # Half an answer is sent; only its breaking off can say that it is not whole.
            exchange.abort()
            return
        try:
            await exchange.fail(error)
        except ClientGone:
            return

    async def _routed(self, exchange: Exchange) -> None:
        if exchange.method == "POST" and is_grpc_web(exchange.media_type):
            with self._span(exchange, exchange.raw_path.removeprefix("/")):
                await self._grpc_web.answer(exchange)
            return
        match = self._table.find(exchange.method, exchange.raw_path)
        if match is None:
            raise self._not_found(exchange)
        with self._span(exchange, f"{exchange.method} {match.template}"):
            await self._called(exchange, match)

    def _span(self, exchange: Exchange, name: str) -> AbstractContextManager[object]:
        traceparent = exchange.headers.get(telemetry.TRACEPARENT, "")
        return telemetry.span(name, traceparent=traceparent, kind=SpanKind.SERVER)

    async def _called(self, exchange: Exchange, match: Match[Route]) -> None:
        method, binding = match.target
        if method.server_streaming:
            await self._streaming.answer(exchange, method, binding, match.variables)
        else:
            await calls.unary(exchange, self._backends, method, binding, match.variables)

    def _not_found(self, exchange: Exchange) -> HttpError:
        allowed = self._table.methods(exchange.raw_path)
        if exchange.raw_path in self._pages:
            allowed = ["GET", "HEAD"]
        if not allowed:
            return HttpError(
                404,
                f"There is nothing at {exchange.raw_path[:200]}.",
                fix="/openapi.json and /docs list what there is.",
            )
        return HttpError(
            405,
            f"{exchange.raw_path[:200]} does not take {exchange.method[:16]}.",
            fix=f"Use {' or '.join(allowed)}.",
            headers={"allow": ", ".join(allowed)},
        )
