"""Three-way merge of trees by whole paths: both sides' changes where they are disjoint, conflicts where not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interlock.executor.files.names import join
from interlock.executor.snapshots.builder import Listing, build
from interlock.executor.snapshots.model import DIRECTORY, UNKNOWN_TIME, Entry, Snapshot, Times
from interlock.executor.snapshots.store import Store

_NOTHING = Snapshot(b"")


class Merged(NamedTuple):
    """The merge, or the paths that both sides changed differently (then `snapshot` is None)."""

    snapshot: Snapshot | None
    conflicts: tuple[bytes, ...]


class _Side(NamedTuple):
    entries: Mapping[bytes, Entry]
    times: Mapping[bytes, Times]

    def inner(self, name: bytes) -> Snapshot:
        entry = self.entries.get(name)
        if entry is None or entry.kind != DIRECTORY:
            return _NOTHING
        times = self.times.get(name)
        return Snapshot(entry.value, times.child if times else b"")


def merge(store: Store, base: Snapshot, ours: Snapshot, theirs: Snapshot) -> Merged:
    """Apply to `theirs` what changed from `base` to `ours`. Costs what both sides changed.

    The same change on both sides is no conflict. One side deleting a directory in which the other changed
    anything is one. New objects are durable on return. Raises TREE_NOT_FOUND.
    """
    if theirs.tree == base.tree or ours.tree == theirs.tree:
        return Merged(ours, ())
    if ours.tree == base.tree:
        return Merged(theirs, ())
    return _Merge(store).run(base, ours, theirs)


class _Merge:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.conflicts: list[bytes] = []

    def run(self, base: Snapshot, ours: Snapshot, theirs: Snapshot) -> Merged:
        listings: list[Listing] = []
        waiting = [(b"", base, ours, theirs)]
        while waiting:
            path, b, o, t = waiting.pop()
            listing, inner = self.directory(path, self.open(b), self.open(o), self.open(t))
            listings.append(listing)
            waiting.extend(inner)
        if self.conflicts:
            return Merged(None, tuple(sorted(self.conflicts)))
        batch = self.store.batch()
        built = build(listings, batch)
        batch.commit()
        return Merged(built[b""].snapshot, ())

    def open(self, snapshot: Snapshot) -> _Side:
        if not snapshot.tree:
            return _Side({}, {})
        return _Side(self.store.directory_entries(snapshot.tree), self.store.times(snapshot.times))

    def directory(
        self, path: bytes, base: _Side, ours: _Side, theirs: _Side
    ) -> tuple[Listing, list[tuple[bytes, Snapshot, Snapshot, Snapshot]]]:
        listing = Listing(path)
        inner: list[tuple[bytes, Snapshot, Snapshot, Snapshot]] = []
        for name in base.entries.keys() | ours.entries.keys() | theirs.entries.keys():
            b, o, t = base.entries.get(name), ours.entries.get(name), theirs.entries.get(name)
            if o in (b, t):
                _take(listing, name, theirs)
            elif t == b:
                _take(listing, name, ours)
            elif o is not None and t is not None and o.kind == t.kind == DIRECTORY:
                here = join(path, name)
                mode = self.mode(here, b, o, t)
                listing.entries[name] = Entry(DIRECTORY, mode, b"")
                listing.times[name] = ours.times.get(name) or theirs.times.get(name) or Times(UNKNOWN_TIME)
                inner.append((here, base.inner(name), ours.inner(name), theirs.inner(name)))
            else:
                self.conflicts.append(join(path, name))
        return listing, inner

    def mode(self, path: bytes, base: Entry | None, ours: Entry, theirs: Entry) -> int:
        if base is not None and base.kind == DIRECTORY:
            if ours.mode == base.mode:
                return theirs.mode
            if theirs.mode == base.mode:
                return ours.mode
        if ours.mode != theirs.mode:
            self.conflicts.append(path)
        return ours.mode


def _take(listing: Listing, name: bytes, side: _Side) -> None:
    entry = side.entries.get(name)
    if entry is not None:
        listing.entries[name] = entry
        times = side.times.get(name)
        if times is not None:
            listing.times[name] = times
