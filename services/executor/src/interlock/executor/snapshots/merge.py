"""Three-way merge of trees: both sides' changes where they are disjoint, conflicts where not.

By whole paths, or finely: then text files that both sides changed are merged by lines (see `diff3`), and of a
directory that one side removed what the other has added is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interlock.executor.files.names import join, parent_and_name
from interlock.executor.snapshots.builder import Listing, build
from interlock.executor.snapshots.diff3 import MAX_BYTES, merge_texts
from interlock.executor.snapshots.model import DIRECTORY, FILE, UNKNOWN_TIME, Entry, Snapshot, Times
from interlock.executor.snapshots.store import Store

_NOTHING = Snapshot(b"")


class Merged(NamedTuple):
    """The merge, or the paths that both sides changed differently (then `snapshot` is None, unless settled)."""

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


def merge(
    store: Store,
    base: Snapshot,
    ours: Snapshot,
    theirs: Snapshot,
    *,
    fine: bool = False,
    settled: bool = False,
) -> Merged:
    """Apply to `theirs` what changed from `base` to `ours`. Costs what both sides changed.

    The same change on both sides is no conflict. One side deleting a directory in which the other changed
    anything is one. `fine`: text files that both sides changed are merged where their changes are apart, and a
    directory that `ours` removed stays for the sake of what `theirs` has added to it; the rest of it goes.
    `settled`: there is a snapshot in spite of conflicts, with what `theirs` has at those paths.
    New objects are durable on return. Raises TREE_NOT_FOUND.
    """
    if theirs.tree == base.tree or ours.tree == theirs.tree:
        return Merged(ours, ())
    if ours.tree == base.tree:
        return Merged(theirs, ())
    return _Merge(store, fine=fine, settled=settled).run(base, ours, theirs)


class _Merge:
    def __init__(self, store: Store, *, fine: bool, settled: bool) -> None:
        self.store = store
        self.fine, self.settled = fine, settled
        self.batch = store.batch()
        self.conflicts: list[bytes] = []
        self.going: set[bytes] = set()

    def run(self, base: Snapshot, ours: Snapshot, theirs: Snapshot) -> Merged:
        listings: list[Listing] = []
        waiting = [(b"", base, ours, theirs)]
        while waiting:
            path, b, o, t = waiting.pop()
            listing, inner = self.directory(path, self.open(b), self.open(o), self.open(t))
            listings.append(listing)
            waiting.extend(inner)
        conflicts = tuple(sorted(self.conflicts))
        if conflicts and not self.settled:
            return Merged(None, conflicts)
        built = build(self.without_empty(listings), self.batch)
        self.batch.commit()
        return Merged(built[b""].snapshot, conflicts)

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
            elif self.fine and o is None and _stays_directory(b, t):
                here = join(path, name)
                self.going.add(here)
                assert t is not None
                listing.entries[name] = t
                listing.times[name] = theirs.times.get(name) or Times(UNKNOWN_TIME)
                inner.append((here, base.inner(name), _NOTHING, theirs.inner(name)))
            elif self.fine and (text := self.text(b, o, t)) is not None:
                listing.entries[name] = text
                listing.times[name] = Times(UNKNOWN_TIME)  # the time at which it is published
            else:
                self.conflicts.append(join(path, name))
                _take(listing, name, theirs)
        return listing, inner

    def without_empty(self, listings: list[Listing]) -> list[Listing]:
        """Leaves out directories that were removed and in which nothing was added."""
        if not self.going:
            return listings
        by_path = {listing.path: listing for listing in listings}
        for listing in reversed(listings):
            if listing.path in self.going and not listing.entries:
                parent, name = parent_and_name(listing.path)
                del by_path[parent].entries[name], by_path[parent].times[name], by_path[listing.path]
        return list(by_path.values())

    def text(self, base: Entry | None, ours: Entry | None, theirs: Entry | None) -> Entry | None:
        """A regular file on all sides whose changes are apart, merged."""
        if base is None or ours is None or theirs is None:
            return None
        sides = (base, ours, theirs)
        if any(entry.kind != FILE or self.store.size(entry.value) > MAX_BYTES for entry in sides):
            return None
        if ours.mode not in (base.mode, theirs.mode) and theirs.mode != base.mode:
            return None
        merged = merge_texts(*(self.store.get(entry.value) for entry in sides))
        if merged is None:
            return None
        mode = theirs.mode if ours.mode == base.mode else ours.mode
        return Entry(FILE, mode, self.batch.put(merged))

    def mode(self, path: bytes, base: Entry | None, ours: Entry, theirs: Entry) -> int:
        if base is not None and base.kind == DIRECTORY:
            if ours.mode == base.mode:
                return theirs.mode
            if theirs.mode == base.mode:
                return ours.mode
        if ours.mode != theirs.mode:
            self.conflicts.append(path)
        return theirs.mode


def _stays_directory(base: Entry | None, theirs: Entry | None) -> bool:
    """Whether it was and is a directory with the same mode."""
    return base is not None and theirs is not None and base[:2] == theirs[:2] and base.kind == DIRECTORY


def _take(listing: Listing, name: bytes, side: _Side) -> None:
    entry = side.entries.get(name)
    if entry is not None:
        listing.entries[name] = entry
        times = side.times.get(name)
        if times is not None:
            listing.times[name] = times
