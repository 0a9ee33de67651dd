"""A copy of a directory made while it is scanned, from the very bytes that were hashed: nothing is read twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from interlock.executor.files.names import join
from interlock.executor.files.root import Root
from interlock.executor.snapshots.builder import Built
from interlock.executor.snapshots.model import DIRECTORY, Entry, Owner
from interlock.executor.snapshots.scan import Progress, ProgressFn
from interlock.executor.snapshots.store import Store
from interlock.executor.snapshots.write import settle_link, write_data, write_entry

_NO_CLONE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


class Mirror:
    """Writes below `root`, which must be empty and private to the caller. Nothing is fsynced: the caller syncs.

    The scan calls `directory`, then `file` and `link` for names in it; `finish` comes when the store has everything.
    Raises OSError.
    """

    def __init__(self, store: Store, root: Root, owner: Owner | None, progress: ProgressFn | None) -> None:
        self._store, self._root, self._owner, self._progress = store, root, owner, progress
        self._here, self._path = -1, b""
        self._entries = self._bytes = 0
        self._big: list[tuple[bytes, bytes, Entry, int]] = []

    def close(self) -> None:
        """Close it; may be called again."""
        if self._here >= 0:
            os.close(self._here)
            self._here = -1

    def directory(self, path: bytes) -> None:
        """Make a directory; what follows is in it."""
        self.close()
        if path:
            parent, _, name = path.rpartition(b"/")
            above = self._root.open_dir(parent)
            try:
                os.mkdir(name, 0o700, dir_fd=above)
                if self._owner is not None:
                    os.chown(name, *self._owner, dir_fd=above, follow_symlinks=False)
            finally:
                os.close(above)
            self._count(0)
        self._here, self._path = self._root.open_dir(path), path

    def file(self, name: bytes, entry: Entry, data: bytes | None, mtime_ns: int) -> None:
        """Write a file; `data` is None for a big one, which is copied from the store in the end."""
        if data is None:
            self._big.append((self._path, name, entry, mtime_ns))
        else:
            write_data(self._here, name, data, entry.mode, mtime_ns, self._owner)
        self._count(len(data or b""))

    def link(self, name: bytes, entry: Entry, mtime_ns: int) -> None:
        """Make a symlink."""
        os.symlink(entry.value, name, dir_fd=self._here)
        settle_link(self._here, name, mtime_ns, self._owner)
        self._count(0)

    def finish(self, built: Mapping[bytes, Built]) -> None:
        """Write big files, then give every directory its mode and time, children before parents."""
        self.close()
        for path, name, entry, mtime_ns in self._big:
            fd = self._root.open_dir(path)
            try:
                self._copy_big(fd, name, entry, mtime_ns)
            finally:
                os.close(fd)
        for path in sorted(built, key=lambda path: path.count(b"/"), reverse=True):
            for name, entry in built[path].entries.items():
                if entry.kind == DIRECTORY:
                    self._settle(join(path, name), entry.mode, built[path].times[name].mtime_ns)

        if self._progress:
            self._progress(Progress("checkout", self._entries, self._bytes))

    def _count(self, size: int) -> None:
        self._entries += 1
        self._bytes += size
        if self._progress and self._entries % 1000 == 0:
            self._progress(Progress("checkout", self._entries, self._bytes))

    def _settle(self, path: bytes, mode: int, mtime_ns: int) -> None:
        fd = self._root.open_dir(path)
        try:
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _copy_big(self, fd: int, name: bytes, entry: Entry, mtime_ns: int) -> None:
        """By reference where the file system can, else in the kernel; its bytes were hashed on their way in."""
        source = self._store.big_path(entry.value)
        if source is None or not self._cloned(fd, name, os.fsencode(source), entry, mtime_ns):
            write_entry(self._store, fd, name, entry, mtime_ns, self._owner, begin_sync=False)

    def _cloned(self, fd: int, name: bytes, source: bytes, entry: Entry, mtime_ns: int) -> bool:
        reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            left = os.fstat(reading).st_size
            write_data(fd, name, b"", entry.mode | 0o600, mtime_ns, self._owner)
            writing = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                while left and (done := os.copy_file_range(reading, writing, left)):
                    left -= done
                os.fchmod(writing, entry.mode)
                os.utime(writing, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(writing)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            left = 1
        finally:
            os.close(reading)
        if left:
            os.unlink(name, dir_fd=fd)
        return not left
