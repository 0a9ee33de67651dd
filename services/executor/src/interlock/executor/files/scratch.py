"""Making and removing directories with many files, where a file system is slow at it.

Two costs dominate changes of a thousand files, and neither is writing:

* ext4 looks for the inode of a new file in its directory's block group, and passes over, one by one, every inode that
  was deleted there within the last minutes (`recently_deleted` in fs/ext4/ialloc.c): a tenfold cost where files come
  and go. A new directory is placed in a group of its own below one that is marked as the top of hierarchies
  (chattr(1), T), and keeps that group when it is renamed. So it is born there, and then moved.
* Removing a file whose blocks are on the disk takes several times as long as making it. What is to go is moved out of
  sight in one rename, and removed by a thread.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import struct
import threading
import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Final

from interlock.executor.files import kernel
from interlock.executor.files.remove import remove_tree

MOST_WAITING: Final = 8
"""Directories that wait to be removed; who discards one more waits, so that disk space is not held for long."""

_MANY: Final = 0.01  # seconds that a removal takes from which on it matters where the next files are made
_RECENT: Final = 300.0  # seconds for which ext4 remembers at most

_TRIES: Final = 8  # directories made until one is placed where nothing of ours was removed lately
_LOOKED_AT: Final = 1000  # names of a directory that tell where its files are
_NEIGHBOURS: Final = 16 * 8192  # inodes that ext4 keeps together by default (flex_bg)

_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS of linux/fs.h
_SET_FLAGS: Final = 0x40086602
_TOP_OF_HIERARCHIES: Final = 0x00020000

_NOT_BEQUEATHED: Final = 0x000A1000  # that one, hashed names, extents

_log = logging.getLogger(__name__)


class Scratch:
    """A directory of the executor's own, to which nobody else has access. Thread-safe.

    What an earlier process left in it is removed. Only one process at a time may use it.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque(sorted(map(os.fsencode, os.listdir(self._fd))))
        self._serial = 0
        self._busy = self._closed = False
        self._slow_until = 0.0
        self._crowded: dict[int, float] = {}
        self._thread: threading.Thread | None = None
        self._unique = os.urandom(4).hex().encode()
        _mark(self._fd)
        if self._waiting:
            self._start()

    def close(self) -> None:
        """Let the thread end after the directory it is at; the next start removes the rest. May be called again."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        os.close(self._fd)

    def make(self, parent_fd: int, name: bytes) -> None:
        """Make the directory `name` in `parent_fd`, for many files. Raises OSError: FileExistsError where it is.

        It is made in place where it would take over something of its parent: a group, default ACLs, a label.
        """
        own = self._name(b"new")
        try:
            if _bequeaths(parent_fd):
                raise OSError(errno.EXDEV, "not to be made elsewhere")
            own = self._placed(own)
        except OSError:
            os.mkdir(name, 0o700, dir_fd=parent_fd)
            return
        try:
            kernel.rename_new(self._fd, own, parent_fd, name)
        except OSError:  # another file system or mount, mostly
            os.rmdir(own, dir_fd=self._fd)
            os.mkdir(name, 0o700, dir_fd=parent_fd)

    def make_some(self, parent_fd: int, name: bytes) -> None:
        """As `make`, for what may become many files or few: placed apart only where much was removed lately."""
        if time.monotonic() < self._slow_until:
            self.make(parent_fd, name)
        else:
            os.mkdir(name, 0o700, dir_fd=parent_fd)

    def discard(self, parent_fd: int, name: bytes) -> None:
        """Remove `name` in `parent_fd` with all below it: it is gone on return, its space soon after.

        Nothing there is not an error. Raises OSError, as `remove_tree`, where it cannot be moved away.
        """
        own = self._name(b"old")
        try:
            os.rename(name, own, src_dir_fd=parent_fd, dst_dir_fd=self._fd)
        except FileNotFoundError:
            return
        except OSError:
            remove_tree(parent_fd, name)
            return
        with self._changed:
            self._waiting.append(own)
            self._start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._waiting) <= MOST_WAITING or self._closed)

    def drain(self) -> bool:
        """Wait until everything that was discarded is removed, and its space free. False: there was nothing."""
        with self._changed:
            some = bool(self._waiting or self._busy)
            self._changed.wait_for(lambda: self._closed or not (self._waiting or self._busy))
            return some

    def _placed(self, own: bytes) -> bytes:
        """A new directory, as far as possible where nothing was removed lately. Returns its name; raises OSError."""
        with self._changed:
            now = time.monotonic()
            self._crowded = {place: until for place, until in self._crowded.items() if until > now}
            crowded = set(self._crowded)
        for number in range(_TRIES):
            name = b"%s-%d" % (own, number)
            os.mkdir(name, 0o700, dir_fd=self._fd)
            if number == _TRIES - 1 or _place(os.stat(name, dir_fd=self._fd).st_ino) not in crowded:
                break
            os.rmdir(name, dir_fd=self._fd)
        return name

    def _note_places(self, name: bytes) -> None:
        """Remember where the files are that are about to be removed."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError:
            return
        try:
            with os.scandir(fd) as found:
                places = {_place(entry.inode()) for entry in islice(found, _LOOKED_AT)}
        finally:
            os.close(fd)
        until = time.monotonic() + _RECENT
        with self._changed:
            self._crowded.update(dict.fromkeys(places, until))

    def _name(self, what: bytes) -> bytes:
        with self._changed:
            self._serial += 1
            return b"%s-%s-%d" % (what, self._unique, self._serial)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="interlock-scratch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                name, self._busy = self._waiting.popleft(), True
            started = time.monotonic()
            self._note_places(name)
            try:
                remove_tree(self._fd, name)
            except OSError as error:
                # It is nobody's any more; the next start tries again.
                _log.warning("could not remove %s: %s", os.fsdecode(name), error)
            if (now := time.monotonic()) - started > _MANY:
                self._slow_until = now + _RECENT


def _place(inode: int) -> int:
    return (inode - 1) // _NEIGHBOURS


def _mark(fd: int) -> None:
    """Have directories made in this one placed far from each other, where the file system knows such a mark."""
    try:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("=II", _flags(fd) | _TOP_OF_HIERARCHIES, 0))
    except OSError:
        return  # only ext2, ext3 and ext4 have it, and only they need it


def _flags(fd: int) -> int:
    """The attributes that lsattr(1) shows. Raises OSError."""
    flags = bytearray(8)
    fcntl.ioctl(fd, _GET_FLAGS, flags)
    return int(struct.unpack_from("=I", flags)[0])


def _bequeaths(fd: int) -> bool:
    """Whether what is made in a directory takes over something of it that it would not have when it is moved there."""
    if os.fstat(fd).st_mode & stat.S_ISGID:
        return True
    try:
        if any(name.startswith(("system.", "security.")) for name in os.listxattr(fd)):
            return True
    except OSError:
        pass  # a file system without attributes
    try:
        return bool(_flags(fd) & ~_NOT_BEQUEATHED)
    except OSError:
        return False
