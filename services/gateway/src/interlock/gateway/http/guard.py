"""Who may come in at all: under which host names, and how many at once.

A page of another site can make a browser send requests to loopback, under a name of its own that resolves to it
(DNS rebinding). The Host header still has that name, so only known names are answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from interlock.common.addresses import Address
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.problems import HttpError

ANY = "*"
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:/?#@\[\]\s]+))(?::\d{0,5})?")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """The names under which the gateway answers: loopback, its own address, and those configured.

    Args:
        own: where it listens; a wildcard address (0.0.0.0, ::) adds no name.
        more: names or addresses; `*` allows every one.
    """

    def __init__(self, own: Address, more: Iterable[str] = ()) -> None:
        self._any = ANY in more
        self._names = {*_LOOPBACK, *more}
        if own.host and not _is_wildcard(own.host):
            self._names.add(own.host.lower())

    def check(self, header: str) -> None:
        """Raises a problem of status 421 for another name."""
        if self._any or _name(header) in self._names:
            return
        raise HttpError(
            421,
            f"This gateway does not answer to the host {header[:100]!r}.",
            field="host",
            fix="Use one of its names, or add yours to INTERLOCK_GATEWAY_HOSTS.",
        )


def check_framing(headers: Mapping[str, str]) -> None:
    """Raises a problem of status 400, and the end of the connection, for a body with two lengths.

    A proxy in front may go by the other one, and take the rest for somebody else's request (RFC 9112, 6.1).
    """
    if "transfer-encoding" in headers and "content-length" in headers:
        message = "The request has both Content-Length and Transfer-Encoding."
        raise HttpError(400, message, field="content-length", headers={"connection": "close"})


class Turns:
    """How many requests are handled at once. One more is refused, not queued."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Raises RESOURCE_EXHAUSTED when every turn is taken."""
        if self.taken >= self._most:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED, f"The gateway is busy with {self._most} other requests."
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def _name(header: str) -> str:
    """The Host header (RFC 9110, 7.2) without its port, in lower case; a trailing dot means the same name.

    Empty when it is none: what is no port after the name could be read as part of another name.
    """
    found = _HOST.fullmatch(header.strip().lower())
    return (found["address"] or found["name"].rstrip(".")) if found else ""


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
