"""One connection: uvicorn's HTTP/1.1, with what it lacks against clients that do not read, or send nothing.

The head of a request has to arrive within a time from the connection, or from its first byte; connections beyond
the limit are closed at once; what a response cannot get rid of can be cut off.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from interlock.gateway.http.exchange import ABORT, answer_head
from interlock.gateway.problems import HttpError


class Connection(H11Protocol):
    """An HTTP/1.1 connection. `made` gives a class with its limits."""

    head_seconds = 10.0
    most_connections = 4096

    @classmethod
    def made(cls, head_seconds: float, most_connections: int) -> type[Connection]:
        """The class, with these limits."""
        return type(
            "LimitedConnection", (cls,), {"head_seconds": head_seconds, "most_connections": most_connections}
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what has arrived; then see whether the next head is still incomplete."""
        super().handle_events()
        scope: Any = self.scope
        if scope is not None:
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort
        if self.conn.their_state is h11.IDLE and not self._between_requests():
            self._watch_head()
        else:
            self._unwatch_head()

    def send_400_response(self, msg: str) -> None:
        """What is not HTTP gets a problem like everything else, and the end of the connection."""
        self._unwatch_head()
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            # A response is under way: nothing sensible can be added to it.
            self.transport.abort()
            return
        self._refuse(HttpError(400, "What was sent is not an HTTP/1.1 request."))

    def _refuse(self, error: HttpError) -> None:
        status, headers, body = answer_head(error)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        for event in (
            h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")]),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            sent = self.conn.send(event)
            if sent:
                self.transport.write(sent)
        self.transport.close()

    def _between_requests(self) -> bool:
        """Whether the last request was answered and nothing of another one has come."""
        waiting: bool = self.timeout_keep_alive_task is not None
        return waiting

    def _watch_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
            self._refuse(HttpError(408, "The request's headers did not arrive in time."))
