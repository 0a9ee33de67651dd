"""Where a delivery may go: only to addresses of the public internet, unless the settings allow others.

The name is resolved once per try and the connection is made to the address that was looked at, so that a name that
means another address a moment later (DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from interlock.common.errors import InterlockError, Reason

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """An address that nothing is sent to. Its text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL."""

    secure: bool
    host: str
    port: int
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """The `host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Raises INVALID_ARGUMENT for what is no plain http(s) URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host = host if ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise _bad("cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise _bad("does not begin with https://HOST")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _bad("has a user, a password or a fragment")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(char <= " " or char == "\x7f" for char in path + host):
        raise _bad("has characters that have to be percent-encoded")
    secure = parts.scheme == "https"
    return Target(secure, host, port or (443 if secure else 80), path)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parses `10.0.0.0/8`, `127.0.0.1`, …. Raises INVALID_ARGUMENT."""
    try:
        return tuple(ip_network(text.strip()) for text in texts if text.strip())
    except ValueError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"INTERLOCK_WEBHOOK_ALLOW: {error}.",
            field="INTERLOCK_WEBHOOK_ALLOW",
            fix="Write addresses or networks, separated by commas: 10.1.2.0/24,127.0.0.1.",
        ) from None


def check(target: Target, address: Address, allowed: Sequence[Network]) -> None:
    """Raises Refused unless something may be sent there."""
    real = _embedded(address)
    if any(real in network for network in allowed if network.version == real.version):
        return
    if not real.is_global or real.is_multicast or real.is_reserved or real.is_unspecified:
        why = "is not an address of the public internet, and INTERLOCK_WEBHOOK_ALLOW does not name it"
        raise Refused(f"{address} {why}")
    if not target.secure:
        raise Refused("http:// is sent only to addresses that INTERLOCK_WEBHOOK_ALLOW names")


def check_literal(target: Target, allowed: Sequence[Network]) -> None:
    """What can be said before any name is resolved. Raises INVALID_ARGUMENT."""
    try:
        address = ip_address(target.host)
    except ValueError:
        return
    try:
        check(target, address, allowed)
    except Refused as refusal:
        raise _bad(f"leads nowhere: {refusal}") from None


async def resolve(target: Target, allowed: Sequence[Network]) -> str:
    """An address of the host to connect to. Raises Refused when any of its addresses is refused, or it has none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"{target.host} cannot be resolved") from None
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        check(target, address, allowed)
    if not addresses:
        raise Refused(f"{target.host} has no address")
    return str(addresses[0])


def _embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only wraps it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def _bad(why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"The URL {why}.",
        field="url",
        fix="Use a URL like https://example.org/hook.",
    )
