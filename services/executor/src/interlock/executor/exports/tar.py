"""A tree as a tar archive: the same bytes for the same tree, on any machine. docs/export.md specifies them.

Written by hand: the layout of the header (GNU tar's, https://www.gnu.org/software/tar/manual/html_node/Standard.html)
is short, and no release of a library may change a byte of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from interlock.executor.snapshots.compare import walk
from interlock.executor.snapshots.model import DIRECTORY, FILE, Entry
from interlock.executor.snapshots.store import Store

BLOCK: Final = 512
RECORD: Final = 10_240
_NAME_BYTES: Final = 100
_OCTAL_SIZE: Final = 1 << 33  # 11 octal digits hold less than this
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s167x")
_LONG_NAME, _LONG_LINK = b"L", b"K"


def tar(store: Store, tree: bytes) -> Iterator[bytes]:
    """The archive in pieces of at most about a MiB. Raises TREE_NOT_FOUND; INTERNAL for a damaged object.

    Entries stand in byte order of their names, directories before what is in them; owner and group are 0 without
    names, all times 0; modes are the tree's, links' 0777.
    """
    written = 0
    for path, entry in walk(store, tree):
        for piece in _member(store, path, entry):
            written += len(piece)
            yield piece
    yield b"\0" * (2 * BLOCK + -(written + 2 * BLOCK) % RECORD)


def _member(store: Store, path: bytes, entry: Entry) -> Iterator[bytes]:
    if entry.kind == DIRECTORY:
        yield _header(path + b"/", b"5", entry.mode)
    elif entry.kind == FILE:
        size = store.size(entry.value)
        yield _header(path, b"0", entry.mode, size=size)
        yield from store.chunks(entry.value)
        yield b"\0" * (-size % BLOCK)
    else:
        yield _header(path, b"2", 0o777, target=entry.value)


def _header(name: bytes, kind: bytes, mode: int, *, size: int = 0, target: bytes = b"") -> bytes:
    out = b""
    if len(target) > _NAME_BYTES:
        out += _long(_LONG_LINK, target)
    if len(name) > _NAME_BYTES:
        out += _long(_LONG_NAME, name)
    return out + _block(name[:_NAME_BYTES], kind, mode, size, target[:_NAME_BYTES])


def _long(kind: bytes, text: bytes) -> bytes:
    """A member of its own that carries a long name of the next one, as GNU tar writes it."""
    data = text + b"\0"
    return _block(b"././@LongLink", kind, 0, len(data), b"") + data + b"\0" * (-len(data) % BLOCK)


def _block(name: bytes, kind: bytes, mode: int, size: int, target: bytes) -> bytes:
    def packed(checksum: bytes) -> bytes:
        numbers = b"%07o\0" % mode, b"0000000\0", b"0000000\0", _number(size), b"00000000000\0"
        return _FIELDS.pack(name, *numbers, checksum, kind, target, b"ustar  \0", b"", b"", b"", b"")

    return packed(b"%06o\0 " % sum(packed(b" " * 8)))


def _number(value: int) -> bytes:
    """A size: octal, or where that is too short base 256, as GNU tar writes it."""
    return b"%011o\0" % value if value < _OCTAL_SIZE else b"\x80" + value.to_bytes(11, "big")
