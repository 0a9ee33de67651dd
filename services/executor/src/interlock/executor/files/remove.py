"""Removal of whole trees that a step may have made hostile: mode 000, or deeper than any path can name.

Iterative with two open descriptors: a subdirectory that is not empty is renamed up into the doomed top, so
depth costs neither recursion nor descriptors nor path length (shutil.rmtree fails on all three).
"""

from __future__ import annotations

import os
import stat

from interlock.executor.files.root import chmod_fd

_O_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(parent_fd: int, name: bytes) -> None:
    """Remove `name` in the open directory `parent_fd`, whatever it is. Nothing there is not an error.

    Symlinks are removed, never followed. The caller's uid must own what is below (or be root). Raises OSError.
    """
    try:
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent_fd)
        return
    top = _open_forced(parent_fd, name)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent_fd)


def remove_path(path: str | os.PathLike[str]) -> None:
    """`remove_tree` for an absolute path whose parent is trusted; an absent parent is not an error."""
    parent, name = os.path.split(os.fsencode(path))
    try:
        fd = os.open(parent, _O_DIR)
    except FileNotFoundError:
        return
    try:
        remove_tree(fd, name)
    finally:
        os.close(fd)


def _empty(top: int) -> None:
    waiting = _clear_files(top, [])
    serial = 0
    while waiting:
        name = waiting.pop()
        try:
            os.rmdir(name, dir_fd=top)
            continue
        except OSError:
            pass
        fd = _open_forced(top, name)
        try:
            for child in _clear_files(fd, []):
                serial, moved = _hoist(fd, child, top, serial)
                waiting.append(moved)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=top)


def _clear_files(fd: int, directories: list[bytes]) -> list[bytes]:
    """Unlink everything but directories; return the names of those."""
    with os.scandir(fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                directories.append(name)
            else:
                os.unlink(name, dir_fd=fd)
    return directories


def _hoist(fd: int, child: bytes, top: int, serial: int) -> tuple[int, bytes]:
    # Moving a directory rewrites its "..", which needs write permission on it.
    os.close(_open_forced(fd, child))
    while True:
        serial += 1
        target = b".interlock-doomed-%d" % serial
        try:
            os.stat(target, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(child, target, src_dir_fd=fd, dst_dir_fd=top)
            return serial, target


def _open_forced(parent_fd: int, name: bytes) -> int:
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            chmod_fd(handle, 0o700)
        return os.open(b".", _O_DIR, dir_fd=handle)
    finally:
        os.close(handle)
