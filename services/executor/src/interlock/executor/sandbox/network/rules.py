"""What one step's proxy is told, and what it tells: plain data that goes over its control socket as JSON."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from interlock.executor.sandbox.network.addresses import Range
from interlock.executor.sandbox.network.hosts import Host, parse_host, printable

PORT: Final = 3128
"""Where the proxy is found on 127.0.0.1 inside; the same for every step, so that environments can be compared."""

MAX_ATTEMPTS_KEPT: Final = 1000
_MOST: Final = 1 << 52  # microseconds since 1970 for a century, and more bytes than any step moves
MAX_MESSAGE: Final = 160 * 1024
"""Bytes of one message on the control socket."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Most of everything, for one step. Times in milliseconds, `traffic_bytes` both ways together."""

    connections: int = 64
    attempts: int = 10_000
    traffic_bytes: int = 1 << 30
    head_bytes: int = 32 * 1024
    head_ms: int = 10_000
    connect_ms: int = 15_000
    idle_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class Rules:
    """Where one step may go.

    Args:
        hosts: what the step asked for, each `host:port`, the host perhaps `*.name`.
        ranges: networks that are no obstacle although they are not public.
        addresses: names that are not looked up, with their address.
        bounds: limits.
    """

    hosts: tuple[str, ...]
    ranges: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    bounds: Bounds = field(default_factory=Bounds)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Rules:
        """From `encode`."""
        told = json.loads(data)
        pinned = tuple((name, address) for name, address in told["addresses"])
        return cls(tuple(told["hosts"]), tuple(told["ranges"]), pinned, Bounds(**told["bounds"]))

    def listed(self) -> tuple[Host, ...]:
        """The hosts, parsed."""
        return tuple(parse_host(text, pattern=True) for text in self.hosts)

    def networks(self) -> tuple[Range, ...]:
        """The ranges, parsed."""
        return tuple(ipaddress.ip_network(text) for text in self.ranges)


@dataclass(slots=True)
class Attempt:
    """One connection that the step asked its proxy for.

    Args:
        host, port: as asked, in their only spelling; what could not be read is in `host` as it came, port 0.
        allowed: whether it was connected.
        reason: empty, or why it was refused or cut: `not_listed`, `bad_request`, `head_too_large`, `too_slow`,
            `not_resolved`, `address_refused`, `connect_failed`, `byte_limit`, `idle`, `broken`, `second_request`,
            `other_site`, `step_ended`.
        detail: a few words for people.
        address: where it was connected to.
        sent, received: bytes to and from the host.
        at_us: when, microseconds since 1970.
        took_us: how long, microseconds.
    """

    host: str
    port: int
    allowed: bool = False
    reason: str = ""
    detail: str = ""
    address: str = ""
    sent: int = 0
    received: int = 0
    at_us: int = 0
    took_us: int = 0

    def encode(self) -> bytes:
        """As a message."""
        return json.dumps({"attempt": asdict(self)}).encode()


def decode_attempt(told: dict[str, Any]) -> Attempt:
    """From a message's `attempt`, in bounds whoever wrote it. Raises TypeError, ValueError for what is none."""
    made = Attempt(**told)
    numbers = (made.sent, made.received, made.at_us, made.took_us)
    if type(made.port) is not int or not 0 <= made.port <= 65535 or type(made.allowed) is not bool:
        raise ValueError("no such port")
    if not all(type(number) is int and 0 <= number <= _MOST for number in numbers):
        raise ValueError("no such number")
    return Attempt(
        printable(str(made.host), 300), made.port, made.allowed, printable(str(made.reason), 40),
        printable(str(made.detail), 300), printable(str(made.address), 64), *numbers,
    )  # fmt: skip
