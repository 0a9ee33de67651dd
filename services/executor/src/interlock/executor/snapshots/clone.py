"""A copy of a directory tree on the same file system: by reference (reflink) where it can, else byte by byte.

ioctl FICLONE (ioctl_ficlone(2); btrfs, XFS, bcachefs, overlays on them) shares the blocks of a file until one side
writes; it costs the same for every size. Elsewhere copy_file_range(2) copies within the kernel.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from interlock.executor.files.names import join
from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Owner
from interlock.executor.snapshots.unlock import Unlocker

_FICLONE: Final = 0x40049409
_CHUNK: Final = 1 << 30
_UNABLE: Final = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(source: Root, target: Root, owner: Owner | None = None) -> None:
    """Fill the empty directory `target` with what `source` holds: files, directories, links; modes and times.

    `source` must be at rest and readable, and hold nothing else. With `owner`, everything is given to it.
    Raises OSError.
    """
    with Unlocker(source) as unlocker:
        directories = _fill(unlocker, target, owner)
    # Children before parents: a parent without x would hide its children from an ordinary user.
    for path, status in reversed(directories):
        fd = target.open_dir(path)
        try:
            if owner is not None:
                os.fchown(fd, owner.uid, owner.gid)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)


def _fill(unlocker: Unlocker, target: Root, owner: Owner | None) -> list[tuple[bytes, os.stat_result]]:
    """Returns the directories that were made, parents before children, whose owner, mode and time are still to come."""
    waiting = [b""]
    directories: list[tuple[bytes, os.stat_result]] = []
    while waiting:
        path = waiting.pop()
        here, there = unlocker.open_dir(path), target.open_dir(path)
        try:
            with os.scandir(here) as found:
                for item in found:
                    name, status = os.fsencode(item.name), item.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        os.mkdir(name, 0o700, dir_fd=there)
                        directories.append((join(path, name), status))
                        waiting.append(join(path, name))
                    elif stat.S_ISLNK(status.st_mode):
                        _copy_link(here, there, name, status, owner)
                    else:
                        _copy_file(here, there, name, status, owner)
        finally:
            os.close(here)
            os.close(there)
    return directories


def can_share_blocks(directory: Path) -> bool:
    """Whether files below a directory can be copied by reference."""
    with tempfile.TemporaryFile(dir=directory) as old, tempfile.TemporaryFile(dir=directory) as new:
        old.write(b"x" * 4096)
        old.flush()
        return _share(old.fileno(), new.fileno())


def _copy_link(here: int, there: int, name: bytes, status: os.stat_result, owner: Owner | None) -> None:
    os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)
    if owner is not None:
        os.chown(name, owner.uid, owner.gid, dir_fd=there, follow_symlinks=False)
    times = (status.st_mtime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=there, follow_symlinks=False)


def _copy_file(here: int, there: int, name: bytes, status: os.stat_result, owner: Owner | None) -> None:
    old = _open_for_reading(here, name, status)
    try:
        new = os.open(name, _CREATE, 0o600, dir_fd=there)
        try:
            if status.st_size and not _share(old, new):
                _copy_bytes(old, new)
            if owner is not None:
                os.fchown(new, owner.uid, owner.gid)
            os.fchmod(new, stat.S_IMODE(status.st_mode))  # after chown, which clears set-id bits
            os.utime(new, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(new)
    finally:
        os.close(old)


def _open_for_reading(here: int, name: bytes, status: os.stat_result) -> int:
    try:
        return os.open(name, _READ, dir_fd=here)
    except PermissionError:
        # This process's own file without permission to read: nobody else is at it.
        os.chmod(name, 0o600, dir_fd=here)
        try:
            return os.open(name, _READ, dir_fd=here)
        finally:
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=here)


def _share(old: int, new: int) -> bool:
    try:
        fcntl.ioctl(new, _FICLONE, old)
    except OSError as error:
        if error.errno in _UNABLE:
            return False
        raise
    return True


def _copy_bytes(old: int, new: int) -> None:
    try:
        while os.copy_file_range(old, new, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        while os.sendfile(new, old, None, _CHUNK):  # from where the other stopped
            pass
