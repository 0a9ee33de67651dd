"""How the store's database holds an object."""

from __future__ import annotations

import zlib
from typing import Final

RAW, ZLIB, FILE = 0, 1, 2
OVERHEAD: Final = 48
"""Bytes that an object costs beside its own: what the database needs to find it."""

Row = tuple[bytes, int, int, bytes]
"""id, form, size, data (empty for a file)."""


def stored_bytes(held: Row) -> int:
    """What a row counts against the store's cap."""
    return (held[2] if held[1] == FILE else len(held[3])) + OVERHEAD


def row(object_id: bytes, value: bytes | int) -> Row:
    """An object (or the size of one that is a file) as the database holds it, compressed where that is smaller."""
    if isinstance(value, int):
        return object_id, FILE, value, b""
    if len(value) > 64:
        packed = zlib.compress(value, 1)
        if len(packed) < len(value):
            return object_id, ZLIB, len(value), packed
    return object_id, RAW, len(value), value
