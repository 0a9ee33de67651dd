"""The contents that a move writes: read from the store many at a time, and once for both of its directories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock.common.errors import InterlockError
from interlock.executor.snapshots.model import FILE, Change
from interlock.executor.snapshots.problems import missing
from interlock.executor.snapshots.store import BIG_BYTES, Store

_AHEAD: Final = 8 << 20
_KEEP: Final = 32 << 20


class Contents:
    """Contents by id, at most `_KEEP` bytes of them in memory. `ids` are in the order they will be asked for.

    Not thread-safe.
    """

    def __init__(self, store: Store, ids: Iterable[bytes]) -> None:
        self._store = store
        self._order = list(dict.fromkeys(ids))
        self._at = {object_id: index for index, object_id in enumerate(self._order)}
        self._sizes: dict[bytes, int] | None = None
        self._here: dict[bytes, bytes] = {}
        self._bytes = 0

    def small(self, object_id: bytes) -> bytes | None:
        """A content's checked bytes; None for a big one, which `Store.chunks` reads.

        Raises TREE_NOT_FOUND, EFFECT_TAMPERED for this one; those that nobody asks for may be lost.
        """
        found = self._here.get(object_id)
        if found is None and self._size(object_id) <= BIG_BYTES:
            self._read(self._at[object_id])
            found = self._here[object_id]
        return found

    def _size(self, object_id: bytes) -> int:
        if self._sizes is None:
            self._sizes = self._store.known_sizes(self._order)
        if object_id not in self._sizes:
            raise missing(object_id)
        return self._sizes[object_id]

    def _read(self, start: int) -> None:
        """This one and as many of the next as `_AHEAD` allows."""
        some: list[bytes] = []
        sizes = self._sizes or {}
        total = 0
        for index in range(start, len(self._order)):
            object_id = self._order[index]
            size = self._size(object_id) if index == start else sizes.get(object_id, BIG_BYTES + 1)
            if size > BIG_BYTES or object_id in self._here:
                continue
            if some and total + size > _AHEAD:
                break
            some.append(object_id)
            total += size
        if self._bytes + total > _KEEP:
            self._here.clear()
            self._bytes = 0
        try:
            self._here.update(self._store.small(some))
        except InterlockError:  # another one may be meant, which perhaps nobody asks for
            self._here.update(self._store.small(some[:1]))
        self._bytes += total


def contents_of(store: Store, changes: list[Change]) -> Contents:
    """The contents that these changes write."""
    return Contents(
        store, (change.new.value for change in changes if change.new is not None and change.new.kind == FILE)
    )
