"""Reads the tar archives that executors send, piece by piece and in bounded memory. Format: docs/export.md.

Nothing is taken on trust: a block that is not what the format says ends the reading with an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from interlock.common.errors import InterlockError, Reason

BLOCK: Final = 512
MAX_NAME: Final = 1 << 16

Kind = Literal["file", "directory", "symlink"]
_KINDS: Final[dict[bytes, Kind]] = {b"0": "file", b"5": "directory", b"2": "symlink"}


class Member(NamedTuple):
    """One entry: its path as it stands in the archive without a slash at the end, mode, size, link target."""

    path: bytes
    kind: Kind
    mode: int
    size: int
    target: bytes


class TarReader:
    """Takes bytes cut anywhere; `feed` yields a Member, then the pieces of a file's content."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = self._padding = 0
        self._long: dict[bytes, bytes] = {}
        self._collecting = b""
        self._collected = bytearray()
        self._zeros = 0

    def feed(self, data: bytes) -> Iterator[Member | bytes]:
        """What is complete with these bytes."""
        self._buffer += data
        while True:
            if self._left:
                piece = bytes(self._buffer[: self._left])
                if not piece:
                    return
                del self._buffer[: len(piece)]
                self._left -= len(piece)
                if self._collecting:
                    self._collect(piece)
                else:
                    yield piece
                continue
            if self._padding:
                if len(self._buffer) < self._padding:
                    return
                del self._buffer[: self._padding]
                self._padding = 0
            if len(self._buffer) < BLOCK:
                return
            block = bytes(self._buffer[:BLOCK])
            del self._buffer[:BLOCK]
            member = self._header(block)
            if member is not None:
                yield member

    def finish(self) -> None:
        """Raises INTERNAL unless the archive was complete."""
        if self._zeros < 2 or self._left or self._long or any(self._buffer):
            raise _damaged("it is cut off")

    def _header(self, block: bytes) -> Member | None:
        if not any(block):
            self._zeros += 1
            return None
        if self._zeros:
            raise _damaged("something follows its end")
        sum_ = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
        if sum_ != _octal(block[148:156]) or block[257:265] != b"ustar  \0":
            raise _damaged("a header is not what its checksum says")
        size, kind = _size(block[124:136]), block[156:157]
        self._left, self._padding = size, -size % BLOCK
        if kind in (b"L", b"K"):
            if not 0 < size <= MAX_NAME:
                raise _damaged("a name is too long")
            self._collecting, self._collected = kind, bytearray()
            return None
        if kind not in _KINDS:
            raise _damaged("a member is neither a file, nor a directory, nor a symbolic link")
        name = self._long.pop(b"L", None) or block[:100].rstrip(b"\0")
        target = self._long.pop(b"K", None) or block[157:257].rstrip(b"\0")
        return Member(name.rstrip(b"/"), _KINDS[kind], _octal(block[100:108]) & 0o7777, size, target)

    def _collect(self, piece: bytes) -> None:
        self._collected += piece
        if not self._left:
            self._long[self._collecting] = bytes(self._collected).rstrip(b"\0")
            self._collecting = b""


def _octal(text: bytes) -> int:
    try:
        return int(text.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise _damaged("a number in a header is malformed") from None


def _size(text: bytes) -> int:
    return int.from_bytes(text[1:], "big") if text[:1] == b"\x80" else _octal(text)


def _damaged(why: str) -> InterlockError:
    return InterlockError(Reason.INTERNAL, f"The archive from the executor is damaged: {why}.")
