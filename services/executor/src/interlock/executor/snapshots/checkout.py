"""A whole tree out of the store into an empty directory."""

from __future__ import annotations

import os

from interlock.executor.files.names import join
from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import DIRECTORY, UNKNOWN_TIME, Owner, Snapshot
from interlock.executor.snapshots.scan import Progress, ProgressFn
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.write import write_entry


def checkout(
    store: Store,
    snapshot: Snapshot,
    root: Root,
    owner: Owner | None = None,
    progress: ProgressFn | None = None,
) -> None:
    """Write `snapshot` below `root`, which must be empty and private to the caller.

    Modes and, where known, modification times are those of the snapshot. Nothing is fsynced: the caller syncs
    before relying on it. Raises OSError; TREE_NOT_FOUND.
    """
    waiting = [(b"", snapshot)]
    directories: list[tuple[bytes, int, int]] = []
    entries = written = 0
    while waiting:
        path, here = waiting.pop()
        times = store.times(here.times)
        fd = root.open_dir(path)
        try:
            for name, entry in store.directory_entries(here.tree).items():
                time = times.get(name)
                mtime = time.mtime_ns if time else UNKNOWN_TIME
                if entry.kind == DIRECTORY:
                    _make_directory(fd, name, owner)
                    inner = join(path, name)
                    directories.append((inner, entry.mode, mtime))
                    waiting.append((inner, Snapshot(entry.value, time.child if time else b"")))
                else:
                    write_entry(store, fd, name, entry, mtime, owner, begin_sync=False)
                entries += 1
                if progress and entries % 1000 == 0:
                    progress(Progress("checkout", entries, written))
        finally:
            os.close(fd)
    _finish(root, directories)
    if progress:
        progress(Progress("checkout", entries, written))


def _make_directory(fd: int, name: bytes, owner: Owner | None) -> None:
    os.mkdir(name, 0o700, dir_fd=fd)
    if owner is not None:
        os.chown(name, owner.uid, owner.gid, dir_fd=fd, follow_symlinks=False)


def _finish(root: Root, directories: list[tuple[bytes, int, int]]) -> None:
    # Children before parents: a parent without x would hide its children from an ordinary user.
    for path, mode, mtime in reversed(directories):
        fd = root.open_dir(path)
        try:
            os.fchmod(fd, mode)
            if mtime != UNKNOWN_TIME:
                os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
