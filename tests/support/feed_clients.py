"""Many subscribers in a process of their own: `python -m tests.support.feed_clients ADDRESS TOKEN COUNT CONNECTIONS`.

Writes "ready" once all of them have caught up, then for each event, when the last of them has it, the time it arrived
there: seconds of the machine's monotonic clock, which all processes share.

What is measured is the service, and the clients have to run beside it: they speak just enough HTTP/2 (RFC 9113) and
gRPC to take messages, which they do not parse. gRPC's own client takes more time for a message than the service does.
"""

from __future__ import annotations

import asyncio
import gc
import struct
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from interlock.v1 import approval_pb2 as pb

_PATH = "/interlock.v1.Approval/Subscribe"
_DATA, _HEADERS, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_WINDOW = 2**31 - 1
Take = Callable[[bytes], None]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers(**fields: str) -> bytes:
    """HPACK (RFC 7541), every field a literal that nobody remembers."""
    found = b""
    for name, value in fields.items():
        for text in (b"\0", name.replace("_", "-").encode(), value.encode()):
            found += text if text == b"\0" else _length(len(text)) + text
    return found


def _length(count: int) -> bytes:
    return bytes((count,)) if count < 127 else bytes((127, (count - 127) % 128 | 128, (count - 127) // 128))


class Connection(asyncio.Protocol):
    """Subscriptions over one connection; `take` gets each message of any of them."""

    def __init__(self, token: str, count: int, take: Take) -> None:
        self._token = token
        self._count = count
        self._take = take
        self._rest = b""
        self._parts: dict[int, bytes] = defaultdict(bytes)
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        request = pb.SubscribeRequest().SerializeToString()
        asked = frame(_DATA, _END_STREAM, 0, b"\0" + len(request).to_bytes(4, "big") + request)
        block = headers(
            **{":method": "POST", ":scheme": "http", ":path": _PATH, ":authority": "localhost"},
            te="trailers",
            content_type="application/grpc",
            authorization=f"Bearer {self._token}",
        )
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        transport.write(frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW)))
        transport.write(frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big")))
        for stream in range(1, 2 * self._count, 2):
            transport.write(frame(_HEADERS, _END_HEADERS, stream, block))
            transport.write(asked[:5] + stream.to_bytes(4, "big") + asked[9:])

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == _DATA:
                self._data(stream, data[at + 9 : end])
            else:
                self._control(kind, flags, data[at + 9 : end])
            at = end
        self._rest = data[at:]

    def _data(self, stream: int, data: bytes) -> None:
        parts = self._parts
        if stream in parts:
            data = parts.pop(stream) + data
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
            self._take(data[5:end])
            data = data[end:]
        if data:
            parts[stream] = data

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _GOAWAY:
            raise ConnectionError(payload)


async def main(address: str, token: str, count: int, connections: int) -> None:
    arrived: Counter[bytes] = Counter()
    waiting = count

    def take(message: bytes) -> None:
        nonlocal waiting
        if waiting:
            waiting -= pb.SubscribeResponse.FromString(message).caught_up
            if not waiting:
                gc.collect()
                gc.freeze()
                print("ready", flush=True)
            return
        arrived[message] += 1
        if arrived[message] == count:
            print(time.monotonic(), flush=True)
            del arrived[message]

    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    for number in range(connections):
        share = count // connections + (number < count % connections)
        await loop.create_connection(lambda n=share: Connection(token, n, take), host, int(port))  # type: ignore[misc]
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
