"""One file or symlink of a directory into the store."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files import failpoints
from interlock.executor.files.names import shown
from interlock.executor.files.root import chmod_fd
from interlock.executor.snapshots.model import SYMLINK, Entry, Limits, file_entry, limit_exceeded
from interlock.executor.snapshots.store import BIG_BYTES, Batch

READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Opens a regular file; never follows a symlink, waits for a fifo, or takes a terminal."""
_CHUNK = 1 << 20


def open_for_reading(dir_fd: int, name: bytes, path: bytes) -> int:
    """Open a regular file for reading. Raises PERMISSION_DENIED naming `path`; OSError otherwise."""
    try:
        return os.open(name, READ_FLAGS, dir_fd=dir_fd)
    except PermissionError:
        raise unreadable(path) from None


def open_unlocked(dir_fd: int, name: bytes, path: bytes) -> int:
    """`open_for_reading`, even of a file of mode 000 that this process owns: only for the executor's own files.

    Its mode is put back before this returns, but a process that is killed in between leaves it changed.
    """
    try:
        return os.open(name, READ_FLAGS, dir_fd=dir_fd)
    except PermissionError:
        pass
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        try:
            chmod_fd(handle, mode | 0o400)
            failpoints.hit("unlocked")
            return os.open(f"/proc/self/fd/{handle}", READ_FLAGS & ~os.O_NOFOLLOW)
        except PermissionError:
            raise unreadable(path) from None
        finally:
            _restore(handle, mode)
    finally:
        os.close(handle)


class FileRead(NamedTuple):
    """A regular file as it was read.

    `status` is from before the reading: a change during it shows as another status later. So `size`, the bytes that
    were read, may differ from what `status` says. `data` is None for a file larger than BIG_BYTES.
    """

    entry: Entry
    status: os.stat_result
    size: int
    data: bytes | None


def read_file(fd: int, path: bytes, batch: Batch, limits: Limits) -> FileRead:
    """Read an open regular file into `batch`.

    Raises WORKSPACE_LIMIT_EXCEEDED naming `path` where the file is too large.
    """
    status = os.fstat(fd)
    if status.st_size > limits.file_bytes:
        raise too_large(path, limits, status.st_size)
    if batch.screen is not None:
        batch.screen.file(fd, path, batch.store)
    if status.st_size <= BIG_BYTES:
        data = _read_small(fd, status.st_size)
        if len(data) <= BIG_BYTES:
            return FileRead(file_entry(status.st_mode, batch.put(data)), status, len(data), data)
    else:
        data = b""
    object_id = batch.put_stream(_rest(data, fd, path, limits))
    return FileRead(file_entry(status.st_mode, object_id), status, os.lseek(fd, 0, os.SEEK_CUR), None)


def link_entry(dir_fd: int, name: bytes) -> Entry:
    """The entry of a symlink. Raises OSError."""
    return Entry(SYMLINK, 0, os.readlink(name, dir_fd=dir_fd))


def unreadable(path: bytes) -> InterlockError:
    """PERMISSION_DENIED for a file or directory that cannot be read."""
    return InterlockError(
        Reason.PERMISSION_DENIED,
        f"The executor may not read {shown(path or b'.')}.",
        field="path",
        fix="Give the executor's user permission to read it (r for a file, r and x for a directory), or move it "
        "out of the workspace. The executor never changes modes to look.",
        metadata={"paths": shown(path or b".")},
    )


def too_large(path: bytes, limits: Limits, measured: int) -> InterlockError:
    """WORKSPACE_LIMIT_EXCEEDED for one file."""
    return limit_exceeded(limits, "file_bytes", measured, shown(path))


def _read_small(fd: int, size: int) -> bytes:
    """All of a file of about `size` bytes; more than BIG_BYTES of it only where it has grown."""
    data = os.read(fd, size + 1)
    if not data:
        return data
    # A short read is not the end of the file on every file system.
    while len(data) <= BIG_BYTES and (more := os.read(fd, 1 << 16)):
        data += more
    return data


def _rest(head: bytes, fd: int, path: bytes, limits: Limits) -> Iterator[bytes]:
    seen = len(head)
    if head:
        yield head
    while chunk := os.read(fd, _CHUNK):
        seen += len(chunk)
        if seen > limits.file_bytes:
            raise too_large(path, limits, seen)
        yield chunk


def _restore(handle: int, mode: int) -> None:
    try:
        chmod_fd(handle, mode)
    except PermissionError:
        pass  # it was never changed: the file is another user's
