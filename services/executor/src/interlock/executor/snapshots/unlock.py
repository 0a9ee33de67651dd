"""How the directories and files of a walk are opened: as they are, or opened up first and closed again after it.

What a user keeps is only ever opened as it is: a process that is killed while something is opened up leaves it so.
The executor's own directories may be opened up, and a user's to publish in it, where the modes that were found are
noted with the record of the move, and put back by whoever finishes it after a kill.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from interlock.executor.files import failpoints
from interlock.executor.files.root import Root, chmod_fd
from interlock.executor.snapshots.filehash import open_for_reading, open_unlocked, unreadable


class Modes(Protocol):
    """Keeps modes of directories, by paths from the root, from before they were opened up; durable on return."""

    def note(self, path: bytes, mode: int) -> None: ...

    def noted(self) -> Mapping[bytes, int]: ...


class Opener:
    """Opens directories and files below a root as they are, and changes nothing."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def open_dir(self, path: bytes) -> int:
        """A descriptor of a directory that can be listed and entered.

        Raises PERMISSION_DENIED naming it; OSError otherwise.
        """
        try:
            fd = self._root.open_dir(path)
        except PermissionError:
            raise unreadable(path) from None
        if os.geteuid() != 0:
            try:
                os.stat(b".", dir_fd=fd)
            except OSError:
                os.close(fd)
                raise unreadable(path) from None
        return fd

    def open_file(self, dir_fd: int, name: bytes, path: bytes) -> int:
        """A descriptor of a regular file, `path` from the root. Raises like `open_dir`."""
        return open_for_reading(dir_fd, name, path)


class Unlocker(Opener):
    """Opens directories below a root; at exit every mode it had to change is put back. `modes` are told before.

    Only an ordinary user meets this (root needs no permission), and only for directories they own.
    """

    def __init__(self, root: Root, modes: Modes | None = None) -> None:
        super().__init__(root)
        self._notes = modes
        self.changed: dict[bytes, int] = {}

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
                mode = stat.S_IMODE(status.st_mode)
                if self._notes is not None:
                    self._notes.note(path, mode)
                self.changed.setdefault(path, mode)
                chmod_fd(handle, opened_up(mode))
                failpoints.hit("unlocked")
        finally:
            os.close(handle)
        return super().open_dir(path)

    def open_file(self, dir_fd: int, name: bytes, path: bytes) -> int:
        """A descriptor of a regular file, even one of mode 000. Raises like `open_dir`."""
        return open_unlocked(dir_fd, name, path)


def opened_up(mode: int) -> int:
    """The mode of a directory that had this one, while it is opened up."""
    return mode | 0o700
