"""Messages as bytes, made once for everyone who gets the same one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Frames:
    """The last few encoded messages, bounded by count and size.

    A cursor names a place, so two messages of one form with the same cursor are the same message.
    """

    def __init__(self, *, most: int = 512, max_bytes: int = 32 * 1024 * 1024) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> bytes | None:
        """The message, if it is kept."""
        return self._kept.get(key)

    def put(self, key: Hashable, frame: bytes) -> bytes:
        """Keep a message, and forget the oldest ones; returns it."""
        if key not in self._kept and len(frame) <= self._max_bytes:
            self._kept[key] = frame
            self._bytes += len(frame)
            while len(self._kept) > self._most or self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return frame
