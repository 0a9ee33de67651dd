"""One request and its response, over ASGI: bounded reading, writing that does not wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from interlock.common.errors import InterlockError, Reason
from interlock.gateway import problems
from interlock.gateway.config import Limits
from interlock.gateway.problems import HttpError
from interlock.gateway.transcode.document import write_json

ABORT: Final = "interlock.abort"
"""ASGI extension: a function that cuts the connection off, whatever is still to be sent."""

_PIECE = 64 * 1024
_DISCARD_SECONDS = 2.0
_MAX_PARAMETERS = 1000

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection, or was cut off; there is nobody to answer."""


class Exchange:
    """A request being answered.

    Attributes:
        request_id: names this one request, in logs and problems.
        status: what was answered; 0 before.
    """

    def __init__(self, scope: Any, receive: Any, send: Any, limits: Limits, request_id: str) -> None:
        self.scope = scope
        self.limits = limits
        self.request_id = request_id
        self.status = 0
        self.always: list[tuple[str, str]] = []
        self._receive = receive
        self._send = send
        self._body_read = False

    @property
    def method(self) -> str:
        """`GET`, `POST`, …"""
        return str(self.scope["method"])

    @property
    def raw_path(self) -> str:
        """The path as it was sent, percent-encoded."""
        return bytes(self.scope["raw_path"]).decode("ascii", "replace")

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; of a repeated one the first counts, so that it cannot be overridden."""
        found: dict[str, str] = {}
        for name, value in self.scope["headers"]:
            found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        return found

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in order. Raises INVALID_ARGUMENT when they cannot be read."""
        try:
            raw = self.scope["query_string"].decode("ascii")
            return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
        except ValueError:
            raise HttpError(400, "The query is not UTF-8, or has too many parameters.") from None

    @property
    def media_type(self) -> str:
        """The body's media type without its parameters, in lower case."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    async def body(self) -> bytes:
        """The whole body, once. Raises MESSAGE_TOO_LARGE, or a problem of status 408 when it comes too slowly."""
        limit = self.limits.body_bytes
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                more = True
                while more:
                    event = await self._receive()
                    if event["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise _too_large(limit)
                    more = event.get("more_body", False)
        except TimeoutError:
            raise HttpError(408, "The body did not arrive in time.", headers=_CLOSE) from None
        self._body_read = True
        return b"".join(parts)

    async def unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; the work is cancelled when the client goes away, and ClientGone raised."""
        working, gone = asyncio.ensure_future(work), asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ClientGone
        finally:
            for task in (working, gone):
                task.cancel()
            await asyncio.gather(working, gone, return_exceptions=True)

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the status and headers."""
        self.status = status
        lines = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in (*headers, *self.always)]
        await self._put({"type": "http.response.start", "status": status, "headers": lines})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body. Raises ClientGone when the client does not take what was sent before."""
        await self._put({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(
        self, status: int, media_type: str, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a whole response."""
        kind = [("content-type", media_type), ("content-length", str(len(body)))]
        await self.start(status, [*(kind if status != 204 else ()), *headers])
        for start in range(0, len(body), _PIECE):
            await self.write(body[start : start + _PIECE])
        await self.write(b"", more=False)

    async def fail(self, error: InterlockError) -> None:
        """Send a problem. What is left of a body is thrown away, or ends the connection."""
        headers = problems.headers(error)
        if (
            not self._body_read
            and self.method not in ("GET", "HEAD", "OPTIONS")
            and not await self._discarded()
        ):
            headers["connection"] = "close"
        body = write_json(problems.problem(error, self.request_id))
        await self.answer(problems.status_of(error), problems.MEDIA_TYPE, body, headers.items())

    async def _discarded(self) -> bool:
        """Take the rest of a body that nobody wants, for a moment: a client that is still sending would lose the
        answer with the connection. One that asks before it sends (`Expect: 100-continue`) needs no such thing.
        """
        if "expect" in self.headers:
            return False
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while True:
                    event = await self._receive()
                    if event["type"] == "http.disconnect":
                        raise ClientGone
                    if not event.get("more_body", False):
                        return True
        except TimeoutError:
            return False

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self.limits.write_seconds):
                await self._send(message)
        except TimeoutError:
            self.abort()
            raise ClientGone from None

    def abort(self) -> None:
        """Cut the connection off. What was sent and not taken yet is lost."""
        cut: Callable[[], None] = self.scope.get("extensions", {}).get(ABORT, lambda: None)
        cut()


_CLOSE = {"connection": "close"}


def answer_head(error: HttpError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of a problem that is answered below ASGI."""
    body = write_json(problems.problem(error))
    headers = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    return error.status, headers, body


def _too_large(limit: int) -> InterlockError:
    return InterlockError(
        Reason.MESSAGE_TOO_LARGE,
        f"The body is larger than {limit} bytes.",
        field="body",
        metadata={"limit": str(limit)},
    )
