"""Making one file or symlink out of the store, in a directory nobody else writes to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Final

from interlock.executor.files import kernel
from interlock.executor.snapshots.model import FILE, SET_ID, UNKNOWN_TIME, Entry, Owner
from interlock.executor.snapshots.store import Store

_BLOCK: Final = 4096
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_entry(
    store: Store,
    dir_fd: int,
    name: bytes,
    entry: Entry,
    mtime_ns: int | None,
    owner: Owner | None,
    *,
    begin_sync: bool,
    data: bytes | None = None,
) -> None:
    """Create `name` (which must not exist) as a file or symlink with its owner, mode and time.

    `data` is a file's content, where the caller has it.

    With `begin_sync`, writing it to the disk begins: `sync_path`, called later, is what waits for it.
    A big file is verified against its id after it was written;
    the caller gives it its final name only when this returned. Raises OSError, TREE_NOT_FOUND, INTERNAL.
    """
    if entry.kind != FILE:
        os.symlink(entry.value, name, dir_fd=dir_fd)
        settle_link(dir_fd, name, mtime_ns, owner)
        return
    chunks = store.chunks(entry.value) if data is None else (data,)
    _write(dir_fd, name, chunks, entry.mode, mtime_ns, owner, begin_sync=begin_sync)


def rewrite(
    dir_fd: int, name: bytes, data: bytes, mode: int, mtime_ns: int | None, *, begin_sync: bool
) -> None:
    """Give an existing file other bytes where it is: nothing is allocated as long as its blocks are enough.

    Killed half-way it has some of both: only for files that nobody reads before it is done again. Raises OSError.
    """
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        # Whole blocks, because the rest of a block would have to be read first.
        _write_all(fd, data + b"\0" * (-len(data) % _BLOCK))
        os.ftruncate(fd, len(data))
        _settle(fd, mode, mtime_ns, begin_sync=begin_sync)
    finally:
        os.close(fd)


def fits(status: os.stat_result, size: int) -> bool:
    """Whether `rewrite` can put that many bytes into the blocks that a file has."""
    return status.st_blocks * 512 >= size + -size % _BLOCK


def write_data(dir_fd: int, name: bytes, data: bytes, mode: int, mtime_ns: int, owner: Owner | None) -> None:
    """Create the file `name` (which must not exist) out of bytes at hand. Raises OSError."""
    _write(dir_fd, name, (data,), mode, mtime_ns, owner, begin_sync=False)


def _write(
    dir_fd: int,
    name: bytes,
    chunks: Iterable[bytes],
    mode: int,
    mtime_ns: int | None,
    owner: Owner | None,
    *,
    begin_sync: bool,
) -> None:
    fd = os.open(name, _CREATE, 0o600, dir_fd=dir_fd)
    try:
        for chunk in chunks:
            _write_all(fd, chunk)
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        _settle(fd, mode, mtime_ns, begin_sync=begin_sync)
    finally:
        os.close(fd)


def _settle(fd: int, mode: int, mtime_ns: int | None, *, begin_sync: bool) -> None:
    os.fchmod(fd, mode & ~SET_ID)  # older trees may hold these; see `file_entry`
    if mtime_ns is not None and mtime_ns != UNKNOWN_TIME:
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    if begin_sync:
        kernel.begin_sync(fd)


def sync_path(root_fd: int, path: bytes) -> None:
    """A file or directory below `root_fd` is on the disk on return; one that is gone is not an error."""
    try:
        fd = kernel.open_beneath(root_fd, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
            return
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle_link(dir_fd: int, name: bytes, mtime_ns: int | None, owner: Owner | None) -> None:
    """Give a symlink its owner and, where known, its time."""
    if owner is not None:
        os.chown(name, owner.uid, owner.gid, dir_fd=dir_fd, follow_symlinks=False)
    if mtime_ns is not None and mtime_ns != UNKNOWN_TIME:
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
