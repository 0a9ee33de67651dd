"""A directory held open; everything below it is reached through `open_beneath`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final

from interlock.executor.files.kernel import open_beneath, open_exact

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class Root:
    """An open directory. Paths are bytes relative to it, `b""` is the directory itself.

    Nothing here follows a symlink below the root unless `follow` says so, or leaves it ever.
    Methods raise OSError, which callers turn into errors with a reason. Use as a context manager, or `close`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        status = os.fstat(fd)
        self.device = status.st_dev

    @classmethod
    def open(cls, path: str | bytes | os.PathLike[str]) -> Root:
        """Open the directory at an absolute path; the last component must not be a symlink."""
        return cls(os.open(path, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))

    @classmethod
    def open_exact(cls, path: str | bytes | os.PathLike[str]) -> Root:
        """Open the directory at an absolute path no component of which may be a symlink."""
        return cls(open_exact(os.fsencode(path), _DIRECTORY))

    def close(self) -> None:
        """Close it; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Root:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open_dir(self, path: bytes, *, follow: bool = False) -> int:
        """A readable descriptor of a directory."""
        return open_beneath(self.fd, path, _DIRECTORY, follow=follow)

    def open_path(self, path: bytes, *, follow: bool = False) -> int:
        """An O_PATH descriptor of anything but a symlink: needs no permission on the thing itself."""
        return open_beneath(self.fd, path, os.O_PATH, follow=follow)

    def open_file(self, path: bytes, *, follow: bool = False) -> int:
        """A readable descriptor of a file; never blocks on a fifo, never takes a terminal."""
        return open_beneath(self.fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, follow=follow)

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Status of what is at `path`, a symlink itself included; None where nothing is.

        Nothing is there, too, when a parent is absent or is not a directory (a symlink is not one).
        """
        parent, _, name = path.rpartition(b"/")
        if not name:
            return os.fstat(self.fd)
        try:
            if not parent:
                return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            fd = open_beneath(self.fd, parent, os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == 40:  # ELOOP: a symlink stands where a parent was
                return None
            raise
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        finally:
            os.close(fd)

    def chmod(self, path: bytes, mode: int) -> None:
        """Set the permission bits of a file or directory, even one that cannot be opened for reading."""
        fd = self.open_path(path)
        try:
            chmod_fd(fd, mode)
        finally:
            os.close(fd)


def chmod_fd(fd: int, mode: int) -> None:
    """chmod through an O_PATH descriptor (fchmod refuses those)."""
    os.chmod(f"/proc/self/fd/{fd}", mode)
