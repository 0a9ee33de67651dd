"""The head of a request to the proxy: CONNECT, or an absolute http URL (RFC 9110 section 9.3.6, RFC 9112 section 3.2).

Strict, because another reader comes after this one: what two readers could understand in two ways is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from interlock.executor.sandbox.network.hosts import Host, parse_host, printable

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_TARGET: Final = re.compile(rb"[\x21\x22\x24-\x7e]+\Z")  # no fragment: it is the client's own matter
_URL: Final = re.compile(rb"http://([^/?#]*)([/?].*|)\Z", re.IGNORECASE)
_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"trailer", b"upgrade", b"host", b"expect",
    }
)  # fmt: skip
MAX_FIELDS: Final = 200


@dataclass(frozen=True, slots=True)
class Head:
    """A request that was understood.

    Args:
        host: where to.
        tunnel: CONNECT: what follows is not looked at.
        forward: else the head as it is sent on.
        body: bytes of the body that follows.
    """

    host: Host
    tunnel: bool
    forward: bytes = b""
    body: int = 0


class BadRequest(ValueError):
    """What is wrong with it; `asked` is the target as it came."""

    def __init__(self, message: str, asked: bytes = b"") -> None:
        super().__init__(message)
        self.asked = printable(asked.decode("ascii", "backslashreplace"))


def parse_head(data: bytes) -> Head:
    """A whole head, up to and with its empty line. Raises BadRequest."""
    first, *lines = data[:-4].split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or not _TOKEN.match(words[0]) or not _TARGET.match(words[1]):
        raise BadRequest("The first line is not METHOD TARGET VERSION.", first)
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise BadRequest("Only HTTP/1.0 and HTTP/1.1 are spoken here.", target)
    fields = _fields(lines, target)
    if method == b"CONNECT":
        return Head(_host(target, target), tunnel=True)
    return _forwarded(method, target, fields)


def _fields(lines: list[bytes], target: bytes) -> list[tuple[bytes, bytes]]:
    if len(lines) > MAX_FIELDS:
        raise BadRequest(f"There are more than {MAX_FIELDS} header fields.", target)
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise BadRequest("A header field is malformed.", target)
        fields.append((name, value.strip(b" \t")))
    return fields


def _forwarded(method: bytes, target: bytes, fields: list[tuple[bytes, bytes]]) -> Head:
    found = _URL.match(target)
    if found is None:
        raise BadRequest("The target is neither host:port after CONNECT nor an http:// URL.", target)
    authority, path = found.group(1), found.group(2)
    bare = authority if re.search(rb":[0-9]+\Z", authority) else authority + b":80"
    host = _host(bare, target)
    body = _body(fields, target)
    # What the client names as belonging to this connection goes no further either.
    named = {
        word.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for word in value.split(b",")
    }
    kept = [(name, value) for name, value in fields if name.lower() not in _HOP | named - {b"content-length"}]
    path = path if path.startswith(b"/") else b"/" + path
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + authority, b"Connection: close"]
    lines += [name + b": " + value for name, value in kept]
    return Head(host, tunnel=False, forward=b"\r\n".join(lines) + b"\r\n\r\n", body=body)


def _body(fields: list[tuple[bytes, bytes]], target: bytes) -> int:
    if any(name.lower() == b"transfer-encoding" for name, _ in fields):
        raise BadRequest("A body without Content-Length is not forwarded; use https.", target)
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    if not lengths:
        return 0
    if len(lengths) > 1 or not re.match(rb"[0-9]{1,15}\Z", lengths[0]):
        raise BadRequest("Content-Length is not one number.", target)
    return int(lengths[0])


def _host(text: bytes, target: bytes) -> Host:
    try:
        return parse_host(text.decode("ascii"))
    except ValueError as error:
        raise BadRequest(f"The host is refused: {error}.", target) from None
