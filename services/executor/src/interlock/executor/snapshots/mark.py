"""What trees reach: the ids of their directories, times and contents. Reads directories, never contents."""

from __future__ import annotations

from collections.abc import Iterable

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.encoding import Malformed, decode_directory, decode_times
from interlock.executor.snapshots.model import DIRECTORY, FILE, Entry, Snapshot
from interlock.executor.snapshots.store import Store


class Marks:
    """A growing set of reachable ids, `ids`. About 100 bytes of memory per object.

    A content with the bytes of a directory has the directory's id: what was walked is remembered by sort.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.ids: set[bytes] = set()
        self._trees: set[bytes] = set()
        self._times: set[bytes] = set()

    def add(self, snapshots: Iterable[Snapshot]) -> None:
        """Everything that these reach. Subtrees that were walked before cost nothing."""
        for snapshot in snapshots:
            self._walk_tree(snapshot.tree)
            if snapshot.times:
                self._walk_times(snapshot.times)

    def _walk_tree(self, tree: bytes) -> None:
        waiting = [tree]
        while waiting:
            here = waiting.pop()
            if here in self._trees:
                continue
            self._trees.add(here)
            self.ids.add(here)
            for entry in self._directory(here):
                if entry.kind == DIRECTORY:
                    waiting.append(entry.value)
                elif entry.kind == FILE:
                    self.ids.add(entry.value)

    def _walk_times(self, times: bytes) -> None:
        waiting = [times]
        while waiting:
            here = waiting.pop()
            if here in self._times:
                continue
            self._times.add(here)
            self.ids.add(here)
            data = self._read(here)
            try:
                waiting += [each.child for each in decode_times(data).values() if each.child] if data else []
            except Malformed:
                continue

    def _directory(self, tree: bytes) -> Iterable[Entry]:
        data = self._read(tree)
        try:
            return decode_directory(data).values() if data else ()
        except Malformed:
            return ()

    def _read(self, object_id: bytes) -> bytes:
        try:
            return self._store.get(object_id)
        except InterlockError as error:
            # What is lost keeps nothing; damage elsewhere must not stop a full disk from being emptied.
            if error.reason not in (Reason.TREE_NOT_FOUND, Reason.EFFECT_TAMPERED, Reason.INTERNAL):
                raise
            return b""
