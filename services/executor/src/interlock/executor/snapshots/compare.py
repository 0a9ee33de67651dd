"""The paths that differ between two trees, and the size of a tree. Subtrees with equal ids are never opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from interlock.executor.files.names import join
from interlock.executor.snapshots.model import (
    DIRECTORY,
    FILE,
    Change,
    ChangeKind,
    Entry,
    Limits,
    Snapshot,
    Times,
    Totals,
    limit_exceeded,
)
from interlock.executor.snapshots.store import Store

_NO_ENTRIES: Mapping[bytes, Entry] = {}


def compare(store: Store, old: Snapshot, new: Snapshot, limits: Limits | None = None) -> list[Change]:
    """Every changed path, parents before children, names in byte order.

    Raises WORKSPACE_LIMIT_EXCEEDED for more than `limits.changes` of them; TREE_NOT_FOUND.
    """
    limits = limits or Limits()
    changes: list[Change] = []
    for change in iterate(store, old, new):
        if len(changes) == limits.changes:
            raise limit_exceeded(limits, "changes", len(changes) + 1)
        changes.append(change)
    return changes


def iterate(store: Store, old: Snapshot, new: Snapshot) -> Iterator[Change]:
    """`compare` without a list or a limit."""
    stack: list[Iterator[tuple[Change | None, bytes, Snapshot | None, Snapshot | None]]] = []
    stack.append(_directory(store, b"", old, new))
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        change, path, before, after = step
        if change is not None:
            yield change
        if before is not None or after is not None:
            stack.append(_directory(store, path, before, after))


def _directory(
    store: Store, path: bytes, old: Snapshot | None, new: Snapshot | None
) -> Iterator[tuple[Change | None, bytes, Snapshot | None, Snapshot | None]]:
    if old is not None and new is not None and old.tree == new.tree:
        return
    before, before_times = _open(store, old)
    after, after_times = _open(store, new)
    differing = [name for name, entry in after.items() if before.get(name) != entry]
    differing += [name for name in before if name not in after]
    for name in sorted(differing):
        a, b = before.get(name), after.get(name)
        at, bt = before_times.get(name), after_times.get(name)
        here = join(path, name)
        kind = _kind(a, b)
        change = (
            Change(here, kind, a, b, at.mtime_ns if at else None, bt.mtime_ns if bt else None)
            if kind is not None
            else None
        )
        yield change, here, _inner(a, at), _inner(b, bt)


def _open(store: Store, snapshot: Snapshot | None) -> tuple[Mapping[bytes, Entry], Mapping[bytes, Times]]:
    if snapshot is None:
        return _NO_ENTRIES, {}
    return store.directory_entries(snapshot.tree), store.times(snapshot.times)


def _inner(entry: Entry | None, times: Times | None) -> Snapshot | None:
    if entry is None or entry.kind != DIRECTORY:
        return None
    return Snapshot(entry.value, times.child if times else b"")


def _kind(old: Entry | None, new: Entry | None) -> ChangeKind | None:
    if old is None:
        return "added"
    if new is None:
        return "deleted"
    if old.kind != new.kind:
        return "modified"
    if old.kind == DIRECTORY:
        return "mode" if old.mode != new.mode else None
    return "mode" if old.value == new.value else "modified"


def find(store: Store, tree: bytes, path: bytes) -> Entry | None:
    """The entry at a path that is not the root; None where nothing is. Raises TREE_NOT_FOUND."""
    parts = path.split(b"/")
    for part in parts[:-1]:
        entry = store.directory_entries(tree).get(part)
        if entry is None or entry.kind != DIRECTORY:
            return None
        tree = entry.value
    return store.directory_entries(tree).get(parts[-1])


def walk(store: Store, tree: bytes, path: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Every path below `tree` (itself at `path`), parents before children, names in byte order."""
    stack = [iter(store.directory_entries(tree).items())]
    prefixes = [path]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            prefixes.pop()
            continue
        name, entry = item
        here = join(prefixes[-1], name)
        yield here, entry
        if entry.kind == DIRECTORY:
            stack.append(iter(store.directory_entries(entry.value).items()))
            prefixes.append(here)


def content_sizes(store: Store, changes: list[Change]) -> dict[bytes, int]:
    """The length in bytes of every content that changes name, by its id. Raises TREE_NOT_FOUND."""
    entries = (entry for change in changes for entry in (change.old, change.new))
    return store.sizes(entry.value for entry in entries if entry is not None and entry.kind == FILE)


def totals_after(store: Store, before: Totals, changes: list[Change]) -> Totals:
    """The size of a tree from that of the tree it was changed from."""
    entries, size = before
    sizes = content_sizes(store, changes)
    for change in changes:
        for entry, sign in ((change.old, -1), (change.new, 1)):
            if entry is not None:
                entries += sign
                if entry.kind == FILE:
                    size += sign * sizes[entry.value]
    return Totals(entries, size)
