"""The proxy of one step: CONNECT and plain http to the hosts on its list, by addresses checked when connecting.

A name is looked up here, every answer is judged, and the connection goes to an address that was judged: a second
answer cannot lead elsewhere. Every connection that is asked for is told as an Attempt.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from interlock.executor.sandbox.network.addresses import IPAddress, objection, plain, route
from interlock.executor.sandbox.network.heads import BadRequest, Head, parse_head
from interlock.executor.sandbox.network.hosts import Host
from interlock.executor.sandbox.network.names import Resolver
from interlock.executor.sandbox.network.relay import Cut, Meter, Relay, Wire
from interlock.executor.sandbox.network.rules import Attempt, Rules

_STATUS: Final = {
    "bad_request": "400 Bad Request",
    "head_too_large": "431 Request Header Fields Too Large",
    "too_slow": "408 Request Timeout",
    "not_listed": "403 Forbidden",
    "address_refused": "403 Forbidden",
    "byte_limit": "403 Forbidden",
    "not_resolved": "502 Bad Gateway",
    "connect_failed": "502 Bad Gateway",
}
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_LINGER: Final = 1.0
_PAUSE: Final = 0.05
# accept(2): of one connection, or of a moment.
_PASSING: Final = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)


class Refused(Exception):
    """The client is told why; `reason` is a key of the statuses."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Proxy:
    """Serves one listening socket. `tell` gets each attempt once, when it is over."""

    def __init__(self, rules: Rules, resolver: Resolver, tell: Callable[[Attempt], None]) -> None:
        self._listed, self._ranges, self._bounds = rules.listed(), rules.networks(), rules.bounds
        self._resolver, self._tell = resolver, tell
        self._meter = Meter(rules.bounds.traffic_bytes)
        self._places = asyncio.Semaphore(rules.bounds.connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0

    async def serve(self, listener: socket.socket) -> None:
        """Takes connections until cancelled, never more than there are places for; then waits in accept.

        After the most attempts a step may make, the listener is closed.
        """
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        with listener:
            while self.accepted < self._bounds.attempts:
                await self._places.acquire()
                try:
                    connected, _ = await loop.sock_accept(listener)
                except BaseException as error:
                    self._places.release()
                    if isinstance(error, OSError) and error.errno in _PASSING:
                        await asyncio.sleep(_PAUSE)
                        continue
                    raise
                self.accepted += 1
                task = asyncio.create_task(self._connection(connected))
                self._tasks.add(task)
                task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()
        if not task.cancelled():
            task.exception()

    async def finish(self, seconds: float) -> None:
        """The step is gone: what it sent before is still passed on, for so long; then everything is cut."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _connection(self, connected: socket.socket) -> None:
        attempt = Attempt("", 0, at_us=time.time_ns() // 1000)
        begun = time.monotonic_ns()
        try:
            client = await Wire.over(connected, self._bounds.head_bytes)
        except BaseException:
            connected.close()
            raise
        try:
            await self._handle(client, attempt)
        except asyncio.CancelledError:
            attempt.reason = attempt.reason or "step_ended"
            raise
        except Cut as cut:
            attempt.reason, attempt.detail = cut.reason, cut.detail
        except OSError as error:
            attempt.reason, attempt.detail = "broken", error.strerror or type(error).__name__
        finally:
            client.abort()
            attempt.took_us = (time.monotonic_ns() - begun) // 1000
            # A connection on which nothing was asked is no attempt.
            if attempt.host or attempt.reason not in ("", "step_ended"):
                self._tell(attempt)

    async def _handle(self, client: Wire, attempt: Attempt) -> None:
        try:
            head = await self._head(client, attempt)
            if head is None:
                return
            host = await self._open(head.host, attempt)
        except Refused as refused:
            attempt.reason, attempt.detail = refused.reason, refused.detail
            await self._refuse(client, refused, attempt.host)
            return
        attempt.allowed = True
        try:
            if head.tunnel:
                client.writer.write(_ESTABLISHED)
            else:
                self._meter.take(len(head.forward))
                attempt.sent += len(head.forward)
                host.writer.write(head.forward)
            relay = Relay(client, host, attempt, self._meter, self._bounds.idle_ms / 1000)
            await relay.run(None if head.tunnel else head.body)
            await _flush(client)
        finally:
            host.abort()

    async def _head(self, client: Wire, attempt: Attempt) -> Head | None:
        """The request, whole and in time; None when the client went away without one."""
        try:
            async with asyncio.timeout(self._bounds.head_ms / 1000):
                data = await client.reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise Refused("too_slow", "The request's head did not come in time.") from None
        except asyncio.LimitOverrunError:
            raise Refused(
                "head_too_large", f"The head is larger than {self._bounds.head_bytes} bytes."
            ) from None
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Refused("bad_request", "The request ended in its head.") from None
            return None
        try:
            head = parse_head(data)
        except BadRequest as error:
            attempt.host = error.asked or "?"
            raise Refused("bad_request", str(error)) from None
        attempt.host, attempt.port = head.host.name, head.host.port
        return head

    async def _open(self, wanted: Host, attempt: Attempt) -> Wire:
        """A connection to a host on the list, by an address that may be. Raises Refused."""
        if not any(each.covers(wanted) for each in self._listed):
            what = "an address" if wanted.address else "a host and port"
            raise Refused("not_listed", f"The step did not ask for {wanted}; this is {what} not on its list.")
        if self._meter.left <= 0:
            raise Refused("byte_limit", "The step has moved as many bytes as it may.")
        addresses = [ipaddress.ip_address(wanted.name)] if wanted.address else await self._look_up(wanted)
        good, why = [], ""
        for address in addresses:
            found = objection(address, self._ranges)
            why = why or found
            good += [] if found else [address]
        if not good:
            attempt.address = str(plain(addresses[0]))
            raise Refused("address_refused", f"{wanted.name} is at {attempt.address}: {why}.")
        return await self._connect(good, wanted.port, attempt)

    async def _look_up(self, wanted: Host) -> list[IPAddress]:
        try:
            async with asyncio.timeout(self._bounds.connect_ms / 1000):
                return await self._resolver(wanted.name, wanted.port)
        except (OSError, ValueError):  # TimeoutError is an OSError
            raise Refused("not_resolved", f"The name {wanted.name} was not found.") from None

    async def _connect(self, addresses: list[IPAddress], port: int, attempt: Attempt) -> Wire:
        detail = ""
        deadline = asyncio.get_running_loop().time() + self._bounds.connect_ms / 1000
        for address in addresses:
            to = route(address)
            attempt.address = str(to)
            made = socket.socket(socket.AF_INET if to.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
            made.setblocking(False)
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.get_running_loop().sock_connect(made, (attempt.address, port))
            except OSError as error:
                made.close()
                detail = error.strerror or "it took too long"
                continue
            except BaseException:
                made.close()
                raise
            return await Wire.over(made)
        raise Refused("connect_failed", f"No connection to port {port}: {detail}.")

    async def _refuse(self, client: Wire, refused: Refused, host: str) -> None:
        # Not the host as it was judged, in lower case: a secret in it would not be known again in the step's output.
        detail = refused.detail.replace(host, "this host") if host.strip("?.") else refused.detail
        text = f"interlock: {refused.reason}: {detail}\n".encode("ascii", "backslashreplace")
        lines = (
            f"HTTP/1.1 {_STATUS[refused.reason]}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
            "Connection: close\r\n\r\n"
        )
        with suppress(OSError):
            client.writer.write(lines.encode() + text)
            await _flush(client)


async def _flush(wire: Wire) -> None:
    """Everything written is with the kernel, and the other side has had time to read it before it sees the end."""
    with suppress(OSError):
        async with asyncio.timeout(_LINGER):
            await wire.writer.drain()
            if wire.writer.can_write_eof():
                wire.writer.write_eof()
            # Closing on unread bytes would reset the connection, and the answer with it.
            while await wire.reader.read(1 << 16):
                continue
