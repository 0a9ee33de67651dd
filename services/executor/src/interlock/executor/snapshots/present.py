"""What is really at a path of a directory that others write to, as the entry a tree would hold for it."""

from __future__ import annotations

import hashlib
import os
import stat

from interlock.executor.files.names import parent_and_name
from interlock.executor.files.near import Near
from interlock.executor.files.root import Root
from interlock.executor.snapshots.filehash import READ_FLAGS, link_entry
from interlock.executor.snapshots.model import DIRECTORY, Entry, file_entry
from interlock.executor.snapshots.scan import StatCache

OTHER = "?"
"""Kind of a socket, fifo or device in an entry made here, and of what cannot be read; no tree has it."""


class Present:
    """Looks at single paths below `root`; content that `cache` knows by its signature is not read.

    With `near`, paths that follow each other in a directory resolve it once.
    """

    def __init__(self, root: Root, cache: StatCache, near: Near | None = None) -> None:
        self._root = root
        self._cache = cache
        self._near = near

    def entry(self, path: bytes, status: os.stat_result | None = None) -> Entry | None:
        """The entry at `path`, None where nothing is. A directory's id is left empty. Raises OSError.

        What cannot be read, and is not known, was closed since it was read last: it is OTHER than it was.
        """
        try:
            return self._entry(path, status)
        except PermissionError:
            return Entry(OTHER, 0, b"")

    def _entry(self, path: bytes, status: os.stat_result | None) -> Entry | None:
        status = status or (self._near or self._root).lstat(path)
        if status is None:
            return None
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            return Entry(DIRECTORY, mode & 0o7777, b"")
        parent, name = parent_and_name(path)
        if stat.S_ISREG(mode):
            known = self._cache.lookup(parent, name, status)
            if known is not None:
                return file_entry(mode, known)
        elif not stat.S_ISLNK(mode):
            return Entry(OTHER, mode & 0o7777, b"")
        return self._read(parent, name, path, stat.S_ISLNK(mode))

    def _read(self, parent: bytes, name: bytes, path: bytes, link: bool) -> Entry | None:
        fd = -1
        try:
            if self._near is not None:
                return _content(self._near.directory(parent), name, link=link)
            fd = self._root.open_dir(parent)
            return _content(fd, name, link=link)
        except FileNotFoundError:
            return None
        finally:
            if fd >= 0:
                os.close(fd)


def _content(dir_fd: int, name: bytes, *, link: bool) -> Entry:
    return link_entry(dir_fd, name) if link else _hash(dir_fd, name)


def look_at(dir_fd: int, name: bytes) -> tuple[os.stat_result, Entry] | None:
    """The status of a name, and then its entry, its content read; None where nothing is. Raises OSError.

    What may not be read is OTHER, as in `Present`.
    """
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return status, _readable(dir_fd, name)
        if stat.S_ISLNK(status.st_mode):
            return status, link_entry(dir_fd, name)
    except FileNotFoundError:
        return None
    kind = DIRECTORY if stat.S_ISDIR(status.st_mode) else OTHER
    return status, Entry(kind, status.st_mode & 0o7777, b"")


def _readable(dir_fd: int, name: bytes) -> Entry:
    try:
        return _hash(dir_fd, name)
    except PermissionError:
        return Entry(OTHER, 0, b"")


def _hash(dir_fd: int, name: bytes) -> Entry:
    fd = os.open(name, READ_FLAGS, dir_fd=dir_fd)
    try:
        digest = hashlib.sha256()
        while chunk := os.read(fd, 1 << 20):
            digest.update(chunk)
        return file_entry(os.fstat(fd).st_mode, digest.digest())
    finally:
        os.close(fd)
