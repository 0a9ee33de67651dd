"""The name in the greeting of a TLS client: which site at an address a tunnel is for (RFC 8446 4.1.2, RFC 6066 3).

Many sites share an address. Whoever was given one of them is held to its name here. What is inside the encryption, a
`Host` field or an encrypted inner greeting, is not seen.
"""

from __future__ import annotations

from typing import Final

HANDSHAKE: Final = 0x16
"""The first byte of a TLS connection. Nothing else that is spoken over TCP begins with it."""

MOST: Final = 64 * 1024
"""Bytes of a greeting, records included. Those of browsers have less than 2 KiB."""

_RECORDS: Final = 64
"""Parts of a greeting. It is read anew with every byte that comes, and nobody has a reason to cut it small."""

_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_RECORD: Final = (1 << 14) + 256


class Unreadable(ValueError):
    """It is no greeting, or could be read in two ways."""


def named_site(data: bytes) -> str | None:
    """The name that is asked for, in lower case; empty when none is, None while the greeting is not whole.

    Raises Unreadable.
    """
    message = _message(data)
    if message is None:
        if len(data) > MOST:
            raise Unreadable("it is too long")
        return None
    try:
        return _name(_Reader(message))
    except IndexError:
        raise Unreadable("it is cut off") from None


def _message(data: bytes) -> bytes | None:
    """The first handshake message, put together from its records."""
    joined, at = b"", 0
    for _ in range(_RECORDS + 1):
        if len(joined) >= 4:
            size = 4 + int.from_bytes(joined[1:4], "big")
            if joined[0] != _CLIENT_HELLO or size > MOST:
                raise Unreadable("it is not a client's")
            if len(joined) >= size:
                return joined[4:size]
        head = data[at : at + 5]
        if (head[:1] or b"\x16") != b"\x16" or (head[1:2] or b"\x03") != b"\x03":
            raise Unreadable("it is not TLS")
        if len(head) < 5:
            return None
        size = int.from_bytes(head[3:5], "big")
        if not 0 < size <= _RECORD:
            raise Unreadable("a record has no such length")
        joined += data[at + 5 : at + 5 + size]
        if len(data) < at + 5 + size and len(joined) < 4:
            return None
        at += 5 + size
    raise Unreadable("it is in too many parts")


def _name(hello: _Reader) -> str:
    hello.take(2 + 32)  # version, random
    hello.block(1)  # session
    hello.block(2)  # ciphers
    hello.block(1)  # compression
    if hello.done():
        return ""
    extensions = _Reader(hello.block(2))
    found: list[bytes] = []
    while not extensions.done():
        kind, body = extensions.number(2), extensions.block(2)
        if kind == _SERVER_NAME:
            found.append(body)
    if len(found) > 1 or not hello.done():
        raise Unreadable("it names two sites, or goes on after its end")
    return _only(_Reader(found[0])) if found else ""


def _only(extension: _Reader) -> str:
    names = _Reader(extension.block(2))
    kind, name = names.number(1), names.block(2)
    if kind != 0 or not names.done() or not extension.done():
        raise Unreadable("it names two sites, or goes on after its end")
    if not name or not name.isascii():
        raise Unreadable("its name is not one of a host")
    return name.decode("ascii").lower()


class _Reader:
    """Reads from the front. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def done(self) -> bool:
        return self._at == len(self._data)

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """What follows a length of `size` bytes."""
        return self.take(self.number(size))
