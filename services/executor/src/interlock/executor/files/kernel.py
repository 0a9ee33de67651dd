"""Linux system calls that Python's `os` does not offer: openat2, renameat2 that replaces nothing or exchanges, syncfs.

openat2(2) with RESOLVE_BENEATH resolves a path in the kernel in one go, so no rename or symlink swapped in by
somebody else can lead outside the directory it starts from (a `realpath` check followed by `open` can be raced).
Where the kernel or a container's filter lacks it, `open_beneath` walks component by component with O_NOFOLLOW.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

_SYS_OPENAT2: Final = 437  # the same number on every architecture
_SYS_RENAMEAT2: Final = {"x86_64": 316, "aarch64": 276, "riscv64": 276}.get(os.uname().machine)
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2

NO_XDEV: Final = 0x01
NO_MAGICLINKS: Final = 0x02
NO_SYMLINKS: Final = 0x04
BENEATH: Final = 0x08

_RETRIES: Final = 128  # openat2 answers EAGAIN when a rename races with a `..` lookup

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE: Final = 2
_sync_file_range = getattr(_libc, "sync_file_range", None)  # not every C library has it


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _State:
    """Whether openat2 works here; found out at its first use. Tests switch it off to reach the walk."""

    openat2: bool | None = None


state = _State()


def openat2(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2). Close-on-exec is added. Returns a file descriptor; raises OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_RETRIES):
        fd = int(_libc.syscall(_SYS_OPENAT2, dir_fd, path, ctypes.byref(how), ctypes.c_size_t(24)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code), path)


def has_openat2() -> bool:
    """Whether openat2 works; EPERM counts as absence, because old container filters answer so."""
    if state.openat2 is None:
        try:
            os.close(openat2(_AT_FDCWD, b"/", os.O_PATH | os.O_DIRECTORY, 0))
            state.openat2 = True
        except OSError:
            state.openat2 = False
    return state.openat2


_AT_FDCWD: Final = -100


def open_beneath(dir_fd: int, path: bytes, flags: int, *, follow: bool = False) -> int:
    """Open `path` below `dir_fd` without leaving it, crossing a mount or passing through a symlink.

    With `follow`, symlinks that stay inside are resolved (not in the fallback, which refuses every symlink).
    Raises OSError: EXDEV when the path leaves the directory or crosses a mount, ELOOP for a symlink.
    """
    if has_openat2():
        resolve = BENEATH | NO_MAGICLINKS | NO_XDEV | (0 if follow else NO_SYMLINKS)
        return openat2(dir_fd, path or b".", flags, resolve)
    return _walk(dir_fd, path, flags)


def open_exact(path: bytes, flags: int) -> int:
    """Open an absolute, canonical path of which no component may be a symlink. Raises OSError: ELOOP for one."""
    if has_openat2():
        return openat2(_AT_FDCWD, path, flags, NO_SYMLINKS | NO_MAGICLINKS)
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = [part for part in path.split(b"/") if part]
    for index, part in enumerate(parts):
        try:
            following = _open_one(here, part, flags if index == len(parts) - 1 else os.O_PATH)
        finally:
            os.close(here)
        here = following
    return here


def _walk(dir_fd: int, path: bytes, flags: int) -> int:
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    device = os.fstat(dir_fd).st_dev
    here = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        for index, part in enumerate(parts or [b"."]):
            last = index >= len(parts) - 1
            step = flags if last else os.O_PATH
            following = _open_one(here, part, step)
            os.close(here)
            here = following
            if os.fstat(here).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(here)
        raise
    return here


def _open_one(dir_fd: int, name: bytes, flags: int) -> int:
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    # O_PATH|O_NOFOLLOW opens the link itself instead of failing.
    if flags & os.O_PATH and _is_link(fd):
        os.close(fd)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return fd


def _is_link(fd: int) -> bool:
    return (os.fstat(fd).st_mode & 0o170000) == 0o120000


def rename_new(src_fd: int, src: bytes, dst_fd: int, dst: bytes) -> None:
    """rename(2) that fails with EEXIST instead of replacing (renameat2 RENAME_NOREPLACE).

    On file systems without it: a look first, then a plain rename.
    """
    if _SYS_RENAMEAT2 is not None:
        result = _libc.syscall(_SYS_RENAMEAT2, src_fd, src, dst_fd, dst, ctypes.c_uint(_RENAME_NOREPLACE))
        if result == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            raise OSError(code, os.strerror(code), dst)
    try:
        os.stat(dst, dir_fd=dst_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        return
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), dst)


def exchange(src_fd: int, src: bytes, dst_fd: int, dst: bytes) -> bool:
    """Swap two names in one go (renameat2 RENAME_EXCHANGE), so that what was displaced can be looked at.

    Returns False, and nothing was done, on file systems without it. Raises OSError.
    """
    if _SYS_RENAMEAT2 is None:
        return False
    result = _libc.syscall(_SYS_RENAMEAT2, src_fd, src, dst_fd, dst, ctypes.c_uint(_RENAME_EXCHANGE))
    if result == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
        return False  # EPERM is a container's filter, or the rename that follows says it again
    raise OSError(code, os.strerror(code), dst)


def begin_sync(fd: int) -> None:
    """Begin to write a file's content to its device, without waiting (sync_file_range). Only a hint.

    Its blocks are allocated now, so that the fsyncs of many files end with one commit of the file system's journal.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def syncfs(fd: int) -> None:
    """Write everything of the file system that `fd` is on to its device. Raises OSError."""
    if _libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
