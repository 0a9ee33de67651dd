"""The bytes of a directory object and of a times object; docs/tree-format.md specifies them with vectors."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from interlock.executor.snapshots.model import SYMLINK, UNKNOWN_TIME, Entry, Times

TREE_DOMAIN: Final = b"interlock.tree.v1\n"
TIMES_DOMAIN: Final = b"interlock.times.v1\n"

_HEAD = struct.Struct(">cHH")  # type, mode, length of the name
_LENGTH = struct.Struct(">I")
_TIME = struct.Struct(">qH")  # mtime in ns, length of the name
_KINDS = {kind: kind.encode("ascii") for kind in "fdl"}
_CODES = {code: chr(code) for code in b"fdl"}


class Malformed(ValueError):
    """Bytes that are not a directory or times object."""


def object_id(data: bytes) -> bytes:
    """Every object's id: sha256 over its bytes, of which the domain line is part."""
    return hashlib.sha256(data).digest()


def encode_directory(entries: Mapping[bytes, Entry]) -> bytes:
    """The bytes of a directory object: the domain line, then the entries sorted by name."""
    out, pack = [TREE_DOMAIN], _HEAD.pack
    for name, (kind, mode, value) in sorted(entries.items()):
        size = _LENGTH.pack(len(value)) if kind == SYMLINK else b""
        out += pack(_KINDS[kind], mode, len(name)), name, size, value
    return b"".join(out)


def decode_directory(data: bytes) -> dict[bytes, Entry]:
    """The entries of a directory object, in order. Raises Malformed for anything `encode` would not write."""
    if not data.startswith(TREE_DOMAIN):
        raise Malformed("not a directory object")
    entries: dict[bytes, Entry] = {}
    at, last = len(TREE_DOMAIN), b""
    try:
        while at < len(data):
            code, mode, length = _HEAD.unpack_from(data, at)
            kind = _CODES[code[0]]
            at += 5
            name = data[at : at + length]
            at += length
            size = 32
            if kind == SYMLINK:
                (size,) = _LENGTH.unpack_from(data, at)
                at += 4
            value = data[at : at + size]
            at += size
            if name <= last or at > len(data):
                raise Malformed("names out of order or cut off")
            entries[name] = Entry(kind, mode, value)
            last = name
    except (struct.error, KeyError) as error:
        raise Malformed(f"bad directory object: {error}") from None
    return entries


def encode_times(times: Mapping[bytes, Times]) -> bytes:
    """The bytes of a times object: the domain line, then name, time and child id, sorted by name.

    A time before 1678 or after 2262, which a file may have and 64 bits of nanoseconds cannot tell, is unknown.
    """
    out, pack = [TIMES_DOMAIN], _TIME.pack
    for name, (mtime, child) in sorted(times.items()):
        known = mtime if UNKNOWN_TIME < mtime < 1 << 63 else UNKNOWN_TIME
        out += pack(known, len(name)), name, b"\1" + child if child else b"\0"
    return b"".join(out)


def decode_times(data: bytes) -> dict[bytes, Times]:
    """The inverse of `encode_times`. Raises Malformed."""
    if not data.startswith(TIMES_DOMAIN):
        raise Malformed("not a times object")
    times: dict[bytes, Times] = {}
    at = len(TIMES_DOMAIN)
    try:
        while at < len(data):
            mtime, length = _TIME.unpack_from(data, at)
            at += 10
            name = data[at : at + length]
            at += length
            child = data[at + 1 : at + 33] if data[at] else b""
            at += 1 + len(child)
            times[name] = Times(mtime, child)
    except (struct.error, IndexError) as error:
        raise Malformed(f"bad times object: {error}") from None
    return times


EMPTY_TREE: Final = object_id(TREE_DOMAIN)
"""Id of a directory with nothing in it."""
