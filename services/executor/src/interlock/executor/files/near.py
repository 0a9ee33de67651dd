"""Many paths of a root in their order: a directory is resolved once for the names that follow each other in it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final

from interlock.executor.files.names import parent_and_name

ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Near:
    """Keeps the directory asked for last open. `open_dir` opens one, perhaps as O_PATH. A context manager.

    What is renamed meanwhile is still the directory that was resolved: below the root, through no symlink.
    """

    def __init__(self, open_dir: Callable[[bytes], int]) -> None:
        self._open_dir = open_dir
        self._path: bytes | None = None
        self._fd = -1

    def __enter__(self) -> Near:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()

    def forget(self) -> None:
        """Close what is open: the next path is resolved anew."""
        if self._fd >= 0:
            os.close(self._fd)
        self._path, self._fd = None, -1

    def directory(self, path: bytes) -> int:
        """A descriptor of the directory at `path`, open until the next call. Raises OSError."""
        if path != self._path:
            self.forget()
            self._fd = self._open_dir(path)
            self._path = path
        return self._fd

    def lstat(self, path: bytes) -> os.stat_result | None:
        """As `Root.lstat`, of a path that is not the root itself."""
        parent, name = parent_and_name(path)
        try:
            return os.stat(name, dir_fd=self.directory(parent), follow_symlinks=False)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
