"""HTTP to a model's server: bounded in time and size, retried with jitter, every failure a typed ModelError."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import random
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC

import httpx

from interlock.common.clock import Clock, SystemClock
from interlock.common.errors import Reason
from interlock.planner.gateways.base import NO_REPLY, Completion, ModelError
from interlock.planner.gateways.planted import Keys

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 20.0
_KEPT_OF_LOST = 64 * 1024

Sleep = Callable[[float], Awaitable[None]]
Tap = Callable[[bytes], None]
"""Gets the body of an event stream (``text/event-stream``) of status 200, as it comes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call. ``attempts`` counts the first one; ``reply_bytes`` is of the body."""

    attempts: int = 3
    reply_bytes: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer with any status. ``latency_ms`` is of the last attempt, to the last byte."""

    status: int
    headers: httpx.Headers
    body: bytes
    latency_ms: int


class Transport:
    """Sends requests to one server. Never logs or raises anything that holds a header's value.

    ``keys`` are taken out of what the server sends back, wherever it is kept or shown.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        limits: Limits,
        *,
        keys: Iterable[str] = (),
        trust_env: bool = True,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limits = limits
        self.keys = Keys(keys)
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._jitter = jitter
        self._client = httpx.AsyncClient(
            base_url=base_url,
            # identity: a few compressed bytes could unpack to more than the bound before they are counted
            headers={"user-agent": "interlock-planner", "accept-encoding": "identity", **headers},
            trust_env=trust_env,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - every call runs under asyncio.timeout below
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=8),
        )

    async def post(
        self,
        path: str,
        body: bytes,
        timeout_s: float,
        retried: frozenset[int] = RETRIED,
        tap: Tap | None = None,
    ) -> HttpReply:
        """The server's answer to a JSON body, after retries; the caller judges its status.

        Raises ModelError: MODEL_UNAVAILABLE (no connection, or one closed without a reply), MODEL_TIMEOUT,
        MODEL_REPLY_INVALID (cut or too large).
        """
        return await self._call("POST", path, body, timeout_s, retried, tap)

    async def get(self, path: str, timeout_s: float) -> HttpReply:
        """One GET without retries; raises as ``post``."""
        return await self._call("GET", path, None, timeout_s, frozenset())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        timeout_s: float,
        retried: frozenset[int],
        tap: Tap | None = None,
    ) -> HttpReply:
        end = self._clock.monotonic() + timeout_s
        under_way = _UnderWay()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._attempts(method, path, body, end, retried, tap, under_way)
        except TimeoutError:
            text = f"The model's server did not answer within {timeout_s:.3g} s."
            error = ModelError(Reason.MODEL_TIMEOUT, text)
        except ModelError as caught:
            error = caught
        if body is not None and under_way.sent:
            error.lost = (self._lost(body, under_way, error.reason),)
        raise error from None

    def _lost(self, body: bytes, under_way: _UnderWay, reason: Reason) -> Completion:
        """A call that was sent and has no whole reply, with as much as came."""
        elapsed = max(0, round((self._clock.monotonic() - under_way.since) * 1000))
        received = self.keys.out_of(bytes(under_way.received))
        return Completion("", "", f"{NO_REPLY}{reason.value}", body, received, elapsed)

    async def _attempts(
        self,
        method: str,
        path: str,
        body: bytes | None,
        end: float,
        retried: frozenset[int],
        tap: Tap | None,
        under_way: _UnderWay,
    ) -> HttpReply:
        attempt = 1
        while True:
            failure: ModelError | None = None
            reply: HttpReply | None = None
            try:
                reply = await self._once(method, path, body, tap, under_way)
                if reply.status not in retried or _final(reply):
                    return reply
            except httpx.TransportError as error:
                failure = _translated(error)
                if method == "GET" or not isinstance(error, httpx.ConnectError):
                    raise failure from None  # it may have been billed: only an unsent request is repeated
            delay = self._delay(attempt, reply)
            if attempt >= self._limits.attempts or self._clock.monotonic() + delay >= end:
                if failure is not None:
                    raise failure
                assert reply is not None
                return reply
            await self._sleep(delay)
            attempt += 1

    def _delay(self, attempt: int, reply: HttpReply | None) -> float:
        """Seconds to wait: what Retry-After says, else exponential with full jitter."""
        asked = retry_after_s(reply.headers, self._clock) if reply is not None else None
        if asked is not None:
            return asked + self._jitter() * 0.1  # a herd that was told the same second spreads a little
        ceiling = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (attempt - 1))
        return self._jitter() * ceiling

    async def _once(
        self, method: str, path: str, body: bytes | None, tap: Tap | None, under_way: _UnderWay
    ) -> HttpReply:
        started = self._clock.monotonic()
        under_way.begin(started)
        headers = {"content-type": "application/json"} if body is not None else {}
        async with contextlib.AsyncExitStack() as stack:
            try:
                stream = self._client.stream(
                    method, path, content=body, headers=headers, extensions={"trace": under_way.trace}
                )
                response = await stack.enter_async_context(stream)
            except (httpx.RemoteProtocolError, httpx.ReadError) as error:
                if isinstance(error, httpx.ReadError) or "without sending a response" in str(error):
                    raise _NoReply(str(error)) from None
                raise
            raw = await self._read(response, tap if _streams(response) else None, under_way)
        under_way.sent = False  # it has its reply
        elapsed = max(0, round((self._clock.monotonic() - started) * 1000))
        return HttpReply(response.status_code, response.headers, self.keys.out_of(raw), elapsed)

    async def _read(self, response: httpx.Response, tap: Tap | None, under_way: _UnderWay) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            message = "The model's server sent a compressed reply, which was not asked for."
            raise ModelError(Reason.MODEL_REPLY_INVALID, message)
        parts: list[bytes] = []
        size = 0
        # with a size, parts would be held back until there is so much of them
        async for part in response.aiter_raw(None if tap else 65_536):
            size += len(part)
            if size > self._limits.reply_bytes:
                message = f"The model's server sent more than {self._limits.reply_bytes:,} bytes."
                raise ModelError(Reason.MODEL_REPLY_INVALID, message)
            parts.append(part)
            under_way.keep(part)
            if tap is not None:
                tap(part)
        return b"".join(parts)


def _streams(response: httpx.Response) -> bool:
    kind = str(response.headers.get("content-type", ""))
    return response.status_code == 200 and kind.partition(";")[0].strip().lower() == "text/event-stream"


class _UnderWay:
    """A request on its way: whether it was sent and has no whole reply, since when, and the beginning of what came."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, since: float) -> None:
        """The next attempt."""
        self.sent = False
        self.since = since
        self.received = bytearray()

    def keep(self, part: bytes) -> None:
        """More of the reply came."""
        self.received += part[: _KEPT_OF_LOST - len(self.received)]

    async def trace(self, event: str, _facts: object) -> None:
        """Hears of the connection's events, of HTTP/1.1 only; see https://www.encode.io/httpcore/extensions/."""
        if event == "http11.send_request_body.complete":
            self.sent = True


class _NoReply(httpx.TransportError):
    """The connection ended before a reply had begun."""


def retry_after_s(headers: httpx.Headers, clock: Clock) -> float | None:
    """Seconds asked for by Retry-After (RFC 9110 §10.2.3: a number or a date), at least 0; None when absent."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - clock.now()).total_seconds())


def _final(reply: HttpReply) -> bool:
    """Whether a 429 means an exhausted quota, which waiting does not cure."""
    return reply.status == 429 and b"insufficient_quota" in reply.body[:4096]


def _translated(error: httpx.TransportError) -> ModelError:
    if isinstance(error, httpx.TimeoutException):
        return ModelError(Reason.MODEL_TIMEOUT, "The model's server did not answer in time.")
    if isinstance(error, httpx.ConnectError):
        if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error).upper():
            return ModelError(
                Reason.MODEL_UNAVAILABLE,
                "The TLS certificate of the model's server cannot be verified.",
                fix="Correct the address, or trust its authority by SSL_CERT_FILE.",
            )
        return ModelError(Reason.MODEL_UNAVAILABLE, "The model's server cannot be reached.")
    if isinstance(error, _NoReply):
        return ModelError(
            Reason.MODEL_UNAVAILABLE,
            "The model's server closed the connection without a reply.",
            fix="Look at the server's log: it may be starting, overloaded, or have crashed on the request.",
        )
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError)):
        return ModelError(
            Reason.MODEL_REPLY_INVALID, "The model's server broke off in the middle of its reply."
        )
    return ModelError(
        Reason.MODEL_UNAVAILABLE, f"The connection to the model failed ({type(error).__name__})."
    )
