"""Typed lists that go to PostgreSQL as binary arrays.

psycopg's own list dumper looks at every element to find the type; here the type is the list's. Binary format:
https://www.postgresql.org/docs/current/protocol.html, `array_recv` in the server's source: number of
dimensions, null flag, element type; length and lower bound; then each element with its length (-1: null).
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import psycopg.abc
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_EMPTY = struct.Struct(">iiI")
_LEN = struct.Struct(">i")
_NULL = b"\xff\xff\xff\xff"
_I2, _I4, _I8 = struct.Struct(">ih"), struct.Struct(">ii"), struct.Struct(">iq")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Array(list[Any]):
    """A list whose element type is fixed: one of the subclasses below. None is SQL null."""

    element: ClassVar[int]
    oid: ClassVar[int]
    encode: ClassVar[staticmethod[[Any], bytes]]
    code: ClassVar[str] = ""
    size: ClassVar[int] = 0


def _text(value: str) -> bytes:
    data = value.encode()
    return _LEN.pack(len(data)) + data


class Ints(Array):
    """int[]"""

    element, oid = 23, 1007
    code, size = "i", 4
    encode = staticmethod(lambda value: _I4.pack(4, value))


class Bigints(Array):
    """bigint[]"""

    element, oid = 20, 1016
    code, size = "q", 8
    encode = staticmethod(lambda value: _I8.pack(8, value))


class Bools(Array):
    """boolean[]"""

    element, oid = 16, 1000
    encode = staticmethod(lambda value: b"\0\0\0\1\1" if value else b"\0\0\0\1\0")


class Texts(Array):
    """text[]"""

    element, oid = 25, 1009
    encode = staticmethod(_text)


class Byteas(Array):
    """bytea[]"""

    element, oid = 17, 1001
    encode = staticmethod(lambda value: _LEN.pack(len(value)) + value)


class Times(Array):
    """timestamptz[]; sent as microseconds since 2000-01-01 UTC"""

    element, oid = 1184, 1185
    encode = staticmethod(lambda value: _I8.pack(8, (value - _EPOCH) // _MICROSECOND))


def _packed(values: Array, code: str, size: int) -> bytes:
    """Numbers of a fixed size without nulls, each after its length, in one go. Raises struct.error, TypeError."""
    parts = [size] * (2 * len(values))
    parts[1::2] = values
    return struct.pack(">" + f"i{code}" * len(values), *parts)


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def __init__(self, cls: type[Array], context: psycopg.abc.AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._array = cls
        self.oid = cls.oid

    def dump(self, obj: Any) -> bytes:
        if not obj:
            return _EMPTY.pack(0, 0, self._array.element)
        encode = self._array.encode
        head = _HEADER.pack(1, 1, self._array.element, len(obj), 1)
        if self._array.code and None not in obj:
            return head + _packed(obj, self._array.code, self._array.size)
        return head + b"".join([_NULL if value is None else encode(value) for value in obj])


def register(connection: psycopg.AsyncConnection[Any]) -> None:
    """Teaches the connection to send these lists."""
    for kind in (Ints, Bigints, Bools, Texts, Byteas, Times):
        connection.adapters.register_dumper(kind, _ArrayDumper)
