"""An immutable sequence in which replacing one item costs the same however long it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar, overload

T = TypeVar("T")

_WIDTH = 64
"""Items in a chunk: replacing one in 10,000 copies 64 + 157 references instead of 10,000."""


class Chunked(Sequence[T]):
    """A sequence as chunks of `_WIDTH` items, the last one shorter. Equal to another with equal items."""

    __slots__ = ("_chunks", "_size")

    def __init__(
        self, items: Iterable[T] = (), *, known: tuple[tuple[tuple[T, ...], ...], int] | None = None
    ) -> None:
        if known is None:
            flat = tuple(items)
            known = tuple(flat[at : at + _WIDTH] for at in range(0, len(flat), _WIDTH)), len(flat)
        self._chunks, self._size = known

    def put(self, index: int, item: T) -> Chunked[T]:
        """The sequence with one item (counted from 0) replaced."""
        outer, inner = divmod(index, _WIDTH)
        chunk = self._chunks[outer]
        chunk = (*chunk[:inner], item, *chunk[inner + 1 :])
        return Chunked(known=((*self._chunks[:outer], chunk, *self._chunks[outer + 1 :]), self._size))

    def extend(self, items: Sequence[T]) -> Chunked[T]:
        """The sequence with more items at its end."""
        full = self._size // _WIDTH
        rest = Chunked((*chain.from_iterable(self._chunks[full:]), *items))
        return Chunked(known=(self._chunks[:full] + rest._chunks, self._size + len(items)))

    def at(self, index: int) -> T | None:
        """The item with this number, counted from 0; None beyond the ends."""
        return self._chunks[index // _WIDTH][index % _WIDTH] if 0 <= index < self._size else None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._chunks)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(self._size)))
        at = index + self._size if index < 0 else index
        if not 0 <= at < self._size:
            raise IndexError(index)
        return self._chunks[at // _WIDTH][at % _WIDTH]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chunked) and self._chunks == other._chunks

    def __hash__(self) -> int:
        return hash(self._chunks)

    def __repr__(self) -> str:
        return f"Chunked({list(self)!r})"
