"""A batch for many objects: they are compressed and written by a second thread while the first goes on reading."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from interlock.executor.snapshots.batch import Batch, Pending
from interlock.executor.snapshots.store import Store

_WAITING: Final = 2  # sets of objects handed over and not yet written: bounds memory at about 8 MiB each


class BulkBatch(Batch):
    """Durable when `commit` returns, as any batch; before that, objects are written in order by one thread."""

    def __init__(self, store: Store, thread: ThreadPoolExecutor) -> None:
        super().__init__(store)
        self._thread = thread
        self._handed: list[tuple[Pending, Future[None]]] = []

    def flush(self) -> None:
        """Hand over what is pending. Raises what writing the earlier ones raised."""
        if self._pending:
            pending, trees, times = self._pending, self._trees, self._times
            self._pending, self._trees, self._times, self._bytes = {}, {}, {}, 0
            self._handed.append((pending, self._thread.submit(self._write, pending, trees, times)))
        while len(self._handed) > _WAITING or (self._handed and self._handed[0][1].done()):
            self._handed.pop(0)[1].result()

    def commit(self) -> None:
        """Write what is left; everything is durable on return."""
        self.flush()
        while self._handed:
            self._handed.pop(0)[1].result()

    def _known(self, object_id: bytes) -> bool:
        return super()._known(object_id) or any(object_id in pending for pending, _ in self._handed)


@contextmanager
def bulk_batch(store: Store) -> Iterator[BulkBatch]:
    """A batch with a thread of its own, which has ended with the block."""
    with ThreadPoolExecutor(1, "interlock-store") as thread:
        yield BulkBatch(store, thread)
