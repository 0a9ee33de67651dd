"""Making one file or symlink out of the store, in a directory nobody else writes to."""

from __future__ import annotations

import os

from interlock.executor.snapshots.model import FILE, SET_ID, UNKNOWN_TIME, Entry, Owner
from interlock.executor.snapshots.store import Store

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_entry(
    store: Store,
    dir_fd: int,
    name: bytes,
    entry: Entry,
    mtime_ns: int | None,
    owner: Owner | None,
    *,
    sync: bool,
) -> None:
    """Create `name` (which must not exist) as a file or symlink with its owner, mode and time.

    With `sync`, a file is on the disk on return. A big file is verified against its id after it was written;
    the caller gives it its final name only when this returned. Raises OSError, TREE_NOT_FOUND, INTERNAL.
    """
    if entry.kind != FILE:
        os.symlink(entry.value, name, dir_fd=dir_fd)
        _settle_link(dir_fd, name, mtime_ns, owner)
        return
    fd = os.open(name, _CREATE, 0o600, dir_fd=dir_fd)
    try:
        for chunk in store.chunks(entry.value):
            _write_all(fd, chunk)
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, entry.mode & ~SET_ID)  # older trees may hold these; see `file_entry`
        if mtime_ns is not None and mtime_ns != UNKNOWN_TIME:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _settle_link(dir_fd: int, name: bytes, mtime_ns: int | None, owner: Owner | None) -> None:
    if owner is not None:
        os.chown(name, owner.uid, owner.gid, dir_fd=dir_fd, follow_symlinks=False)
    if mtime_ns is not None and mtime_ns != UNKNOWN_TIME:
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
