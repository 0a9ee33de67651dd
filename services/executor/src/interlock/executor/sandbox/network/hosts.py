"""Names of hosts as plans, configurations and clients of the proxy write them: one spelling each, or refused.

A host is a name (RFC 1123, with `_`), an IPv4 address as four decimal numbers, or an IPv6 address in brackets. What
other software would take for an address in another spelling (`127.1`, `0x7f000001`, `2130706433`, `1.2.3.04`) is
refused, as a last label that begins like a number never is a name (WHATWG URL, "ends in a number").
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

MAX_TEXT: Final = 260
"""Characters of `host:port`: a name has at most 253."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMERIC: Final = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)\Z")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}\Z")


def printable(text: str, most: int = 200) -> str:
    """What somebody wrote for a host, as it can be shown and recorded: printable ASCII, the rest escaped."""
    return "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in text[:most])[:most]


@dataclass(frozen=True, slots=True)
class Host:
    """One host and port in their only spelling. `address`: it is an IP address, not a name.

    In a pattern the name may be `*` or begin with `*.`, and `port` may be 0: any.
    """

    name: str
    port: int
    address: bool = False

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port or '*'}"

    def covers(self, other: Host) -> bool:
        """Whether everything that `other` stands for is allowed where this is. Addresses only by themselves."""
        if self.port not in (0, other.port):
            return False
        if self.name == other.name and self.address == other.address:
            return True
        if self.address or other.address:
            return False
        if self.name == "*":
            return True
        return self.name.startswith("*.") and other.name.endswith(self.name[1:])


def parse_host(text: str, *, pattern: bool = False, any_host: bool = False) -> Host:
    """`name:port`, `1.2.3.4:port` or `[::1]:port`.

    Args:
        text: at most MAX_TEXT characters.
        pattern: a leading `*.` is taken.
        any_host: also `*` for the host and for the port, as an operator may write.

    Raises ValueError, saying what is wrong, without the text.
    """
    if len(text) > MAX_TEXT:
        raise ValueError("it is too long")
    if not text.isascii() or not text.isprintable():
        raise ValueError("only printable ASCII is taken; write an international name as xn--…")
    name, colon, port = text.rpartition(":")
    if not colon or not name:
        raise ValueError("it is not of the form host:port")
    return _with_port(name, _port(port, any_port=any_host), pattern, any_host)


def _with_port(name: str, port: int, pattern: bool, any_host: bool) -> Host:
    if name.startswith("["):
        return Host(_ipv6(name), port, address=True)
    if any_host and name == "*":
        return Host("*", port)
    lowered = name.lower()
    rest = lowered[2:] if pattern and lowered.startswith("*.") else lowered
    labels = rest.split(".")
    if _NUMERIC.match(labels[-1]):
        if rest != lowered:
            raise ValueError("`*.` cannot stand before an address")
        return Host(_ipv4(rest), port, address=True)
    if rest.endswith("."):
        raise ValueError("a name is written without a dot at its end")
    if len(rest) > 253 or not all(_LABEL.match(label) for label in labels):
        raise ValueError("it is not the name of a host")
    if rest != lowered and len(labels) < 2:
        raise ValueError("`*.` must stand before a name of two parts or more")
    return Host(lowered, port)


def _port(text: str, *, any_port: bool) -> int:
    if any_port and text == "*":
        return 0
    if not _PORT.match(text) or int(text) > 65535:
        raise ValueError("the port is not a number from 1 to 65535")
    return int(text)


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("an IPv4 address is written as four decimal numbers") from None


def _ipv6(text: str) -> str:
    if not text.endswith("]") or "%" in text:
        raise ValueError("an IPv6 address is written in brackets, without a zone")
    try:
        return str(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        raise ValueError("it is not an IPv6 address") from None
