"""Many objects of the store at once: a statement for each takes longer than what it reads."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from interlock.executor.snapshots.problems import damaged
from interlock.executor.snapshots.rowform import ZLIB

_AT_ONCE: Final = 256
_MARKS: Final = ",".join("?" * _AT_ONCE)


def rows(db: sqlite3.Connection, columns: str, ids: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
    """Those of these objects that are there, in any order: the id, then the columns named."""
    waiting = iter(ids)
    while some := list(islice(waiting, _AT_ONCE)):
        # Always as many marks: the statement is prepared once. An id given twice is one row.
        some += [some[-1]] * (_AT_ONCE - len(some))
        yield from db.execute(f"SELECT id, {columns} FROM objects WHERE id IN ({_MARKS})", some)  # noqa: S608


def plain(object_id: bytes, form: int, data: bytes) -> bytes:
    """The bytes of an object that is no file, checked against its id. Raises EFFECT_TAMPERED."""
    if form == ZLIB:
        try:
            data = zlib.decompress(data)
        except zlib.error:
            raise damaged(object_id) from None
    if hashlib.sha256(data).digest() != object_id:
        raise damaged(object_id)
    return bytes(data)
