"""Which objects are in use by somebody who has not yet entered them anywhere: garbage collection keeps its hands off.

An operation (an import, a capture, a publication) finds some of its objects in the store already, unreferenced
perhaps, and makes them referenced when it ends. Between the two a collection must not take them. So every object
that is put, found or new, is noted in the operation's session; a session that ends during a collection leaves its
notes to it, because the collection may have looked at the references before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Sessions:
    """Thread-safe. A session belongs to the thread that opened it and to the batches made on it meanwhile."""

    def __init__(self) -> None:
        self._lock = (
            threading.RLock()
        )  # a batch can be collected, and end its session, on a thread that is in here
        self._local = threading.local()
        self._open: dict[int, set[bytes]] = {}
        self._left: set[bytes] | None = None
        self._serial = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """What is put on this thread is in use until the block ends. Blocks nest: the outermost counts."""
        if getattr(self._local, "notes", None) is not None:
            yield
            return
        number, notes = self._begin()
        self._local.notes = notes
        try:
            yield
        finally:
            self._local.notes = None
            self._end(number)

    def notes_for(self, batch: object) -> set[bytes]:
        """Where a batch notes its objects: in its thread's session, or else in one that lives as long as it does."""
        notes: set[bytes] | None = getattr(self._local, "notes", None)
        if notes is not None:
            return notes
        number, notes = self._begin()
        weakref.finalize(batch, self._end, number).atexit = False
        return notes

    def note(self, key: bytes) -> None:
        """Something else than an object is in use by this thread's session; nothing happens where there is none."""
        notes: set[bytes] | None = getattr(self._local, "notes", None)
        if notes is not None:
            notes.add(key)

    def begin_collection(self) -> None:
        """From here on, what sessions leave is kept. Before the collection reads any reference."""
        with self._lock:
            self._left = set()

    def end_collection(self) -> None:
        """Nothing is deleted any more."""
        with self._lock:
            self._left = None

    def unused(self, ids: Iterable[bytes]) -> list[bytes]:
        """Those ids that no session has, or had since the collection began."""
        with self._lock:
            held = [*self._open.values(), self._left or set()]
            return [each for each in ids if not any(each in notes for notes in held)]

    def _begin(self) -> tuple[int, set[bytes]]:
        notes: set[bytes] = set()
        with self._lock:
            self._serial += 1
            self._open[self._serial] = notes
            return self._serial, notes

    def _end(self, number: int) -> None:
        with self._lock:
            notes = self._open.pop(number)
            if self._left is not None:
                self._left |= notes
