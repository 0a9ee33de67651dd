"""Addresses of services: `host:port`, `[ipv6]:port`, or `unix:/absolute/path`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from interlock.common.errors import InterlockError, Reason

DEFAULT_PORTS: Final[dict[str, int]] = {
    "orchestrator": 7401,
    "executor": 7402,
    "planner": 7403,
    "approval": 7404,
    "gateway": 8002,
}
"""TCP port of each service on 127.0.0.1 when nothing else is configured."""

_MAX_UNIX_PATH = 107  # sockaddr_un.sun_path on Linux, without its terminating zero byte


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens: either a host and a port (0 = any free one), or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether it is the path of a unix socket."""
        return bool(self.path)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: a unix socket or a loopback address."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> Address:
        """The same host with the port that was actually bound."""
        return self if self.is_unix else Address(host=self.host, port=port)

    def __str__(self) -> str:
        """The text `parse_address` reads, which is also a gRPC target."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str, *, field: str = "address") -> Address:
    """Read an address. Raises INVALID_ARGUMENT naming `field`."""
    if text.startswith("unix:"):
        return _unix(text, field)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _bad(text, field, "an IPv6 address needs brackets, as in [::1]:7401")
    if not colon or not host or any(char.isspace() or char == "/" for char in host):
        raise _bad(text, field, "it is not host:port or unix:/path")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise _bad(text, field, "its port is not a number from 0 to 65535")
    return Address(host=host, port=int(port))


def _unix(text: str, field: str) -> Address:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path.startswith("/") or "\0" in path:
        raise _bad(text, field, "a unix socket needs an absolute path")
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise _bad(text, field, f"a unix socket's path has at most {_MAX_UNIX_PATH} bytes")
    return Address(path=path)


def _bad(text: str, field: str, why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{text[:160]!r} is not an address: {why}.",
        field=field,
        fix="Use host:port, [ipv6]:port or unix:/absolute/path.",
    )
