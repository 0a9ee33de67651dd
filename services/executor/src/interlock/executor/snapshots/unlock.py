"""Directories that their owner may not enter: opened up for the time of a walk, and closed again."""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType

from interlock.executor.files.root import Root, chmod_fd
from interlock.executor.snapshots.filehash import unreadable


class Unlocker:
    """Opens directories below a root; at exit every mode it had to change is put back.

    Only an ordinary user meets this (root needs no permission), and only for directories they own.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self.changed: dict[bytes, int] = {}

    def __enter__(self) -> Unlocker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in sorted(self.changed, reverse=True):
            try:
                self._root.chmod(path, self.changed[path])
            except OSError:
                continue  # gone meanwhile

    def open_dir(self, path: bytes, *, writable: bool = False) -> int:
        """A descriptor of a directory that can be listed, entered and, where asked, written to.

        Raises PERMISSION_DENIED for another user's directory; OSError otherwise.
        """
        needed = 0o700 if writable else 0o500
        if os.geteuid() == 0:
            return self._root.open_dir(path)
        handle = self._root.open_path(path)
        try:
            status = os.fstat(handle)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            if status.st_mode & needed != needed and status.st_uid == os.geteuid():
                self.changed.setdefault(path, stat.S_IMODE(status.st_mode))
                chmod_fd(handle, stat.S_IMODE(status.st_mode) | 0o700)
        finally:
            os.close(handle)
        try:
            return self._root.open_dir(path)
        except PermissionError:
            raise unreadable(path) from None
