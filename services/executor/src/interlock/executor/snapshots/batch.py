"""Objects on their way into the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from interlock.executor.snapshots import rowform
from interlock.executor.snapshots.encoding import encode_directory, encode_times
from interlock.executor.snapshots.model import Entry, Times

if TYPE_CHECKING:
    from interlock.executor.snapshots.store import Store

BIG_BYTES: Final = 1 << 20
"""Objects larger than this are files of their own."""

Pending = dict[bytes, bytes | int]
"""Objects by id; of one that is a file, its size."""
Trees = dict[bytes, Mapping[bytes, Entry]]
AllTimes = dict[bytes, Mapping[bytes, Times]]
"""What directory and times objects among the pending ones decode to."""


class Screen(Protocol):
    """Looks at what a batch would add, before any of it is stored. Raises EFFECT_NOT_PUBLISHABLE.

    What is in the store already was not brought by who is screened, and passes.
    """

    def file(self, fd: int, path: bytes, store: Store) -> None:
        """The content of an open file, which is read from its beginning and left there."""

    def directory(
        self, path: bytes, names: Iterable[tuple[bytes, bytes]], encoded: bytes, store: Store
    ) -> None:
        """A directory: its names with the targets of those that are links, and the object that it becomes."""


class Batch:
    """One thread at a time; `commit` makes the objects durable.

    Objects reach the store in order, so a directory object is never durable before what it names.
    Raises STORE_FULL from `put`, `put_stream` and `commit`.
    """

    def __init__(self, store: Store, screen: Screen | None = None) -> None:
        self.store, self.screen = store, screen
        self._notes = store.sessions.notes_for(self)
        self._pending: Pending = {}
        self._trees: Trees = {}
        self._times: AllTimes = {}
        self._bytes = 0
        self._serial = 0

    def put(self, data: bytes) -> bytes:
        """Add an object; returns its id. Whether it is here already is looked up for many at once."""
        if len(data) > BIG_BYTES:
            return self.put_stream(iter((data,)))
        object_id = hashlib.sha256(data).digest()
        if object_id in self._pending:
            return object_id
        # Noted before it is looked for: what is noted is not collected, what was collected is not found.
        self._notes.add(object_id)
        self._pending[object_id] = data
        self._bytes += len(data)
        if self._bytes > 8 << 20 or len(self._pending) > 8192:
            self.flush()
        return object_id

    def put_directory(self, entries: Mapping[bytes, Entry]) -> bytes:
        """Add a directory object; returns its id. Nobody may change `entries` afterwards."""
        ordered = dict(sorted(entries.items()))
        object_id = self.put(encode_directory(ordered))
        self._trees[object_id] = ordered
        return object_id

    def put_times(self, times: Mapping[bytes, Times]) -> bytes:
        """Add a times object; returns its id. Nobody may change `times` afterwards."""
        object_id = self.put(encode_times(times))
        self._times[object_id] = times
        return object_id

    def put_stream(self, chunks: Iterator[bytes]) -> bytes:
        """Add an object of any size in one pass; returns its id. Big files are fsynced here."""
        self._serial += 1
        temporary = self.store.temporary(f"{os.getpid()}-{id(self):x}-{self._serial}")
        try:
            object_id, size = self._receive(temporary, chunks)
            if size <= BIG_BYTES:
                with open(temporary, "rb") as file:
                    return self.put(file.read())
            if not self._known(object_id):
                self.store.adopt(temporary, object_id)
                self._pending[object_id] = size
        finally:
            with self.store.full_disk():
                temporary.unlink(missing_ok=True)
        return object_id

    def flush(self) -> None:
        """Write what is pending and new in one transaction, so that memory stays bounded."""
        if self._pending:
            self._write(self._pending, self._trees, self._times)
            self._pending, self._trees, self._times, self._bytes = {}, {}, {}, 0

    def commit(self) -> None:
        """Write what is pending; everything put is durable on return."""
        self.flush()

    def _write(self, pending: Pending, trees: Trees, times: AllTimes) -> None:
        known = self.store.known_still(pending.keys())
        rows = [rowform.row(key, value) for key, value in pending.items() if key not in known]
        if rows:
            self.store.write_rows(rows)
        self.store.remember(trees, times)

    def _known(self, object_id: bytes) -> bool:
        self._notes.add(object_id)
        return object_id in self._pending or bool(self.store.known_still((object_id,)))

    def _receive(self, temporary: os.PathLike[str], chunks: Iterator[bytes]) -> tuple[bytes, int]:
        digest, size = hashlib.sha256(), 0
        with self.store.full_disk(), open(temporary, "xb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                self.store.make_room(size)
                _write_all(file.fileno(), chunk)
            os.fsync(file.fileno())
        return digest.digest(), size


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
