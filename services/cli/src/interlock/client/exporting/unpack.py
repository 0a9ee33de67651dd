"""Writing a tree into a directory, exactly: modes, symbolic links, empty directories, names of any bytes.

Everything is made below an open directory, one component at a time and never through a symbolic link, so that no
archive and nobody who changes the directory meanwhile can make it write elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from interlock.client.exporting.tarstream import Member, TarReader
from interlock.common.errors import InterlockError, Reason

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Takes the bytes of an archive. Call `write` for each piece, then `finish`; `close` at the end in any case."""

    def __init__(self, directory: Path) -> None:
        self._root = os.open(directory, _DIRECTORY)
        self._reader = TarReader()
        self._directories: list[tuple[bytes, int]] = []
        self._file = -1
        self._mode = self._left = 0
        self._parent: tuple[bytes, int] = (b"", self._root)

    def write(self, data: bytes) -> None:
        """The next bytes of the archive. Raises InterlockError for what a tree cannot hold, OSError."""
        for item in self._reader.feed(data):
            if isinstance(item, Member):
                self._end_file()
                self._make(item)
            else:
                self._append(item)

    def finish(self) -> None:
        """The archive has ended. Raises INTERNAL when it has not."""
        self._end_file()
        self._reader.finish()
        for path, mode in reversed(self._directories):
            fd = self._open(path)
            try:
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Close what is open; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._parent[1] != self._root:
            os.close(self._parent[1])
            self._parent = (b"", self._root)
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
            self._parent = (b"", -1)

    def _make(self, member: Member) -> None:
        parent, _, name = member.path.rpartition(b"/")
        _check(member.path)
        fd = self._at(parent)
        if member.kind == "directory":
            os.mkdir(name, 0o700, dir_fd=fd)
            self._directories.append((member.path, member.mode))
        elif member.kind == "symlink":
            os.symlink(member.target, name, dir_fd=fd)
        else:
            self._file = os.open(name, _NEW, 0o600, dir_fd=fd)
            self._mode, self._left = member.mode, member.size

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        self._left -= len(data)
        while view:
            view = view[os.write(self._file, view) :]

    def _end_file(self) -> None:
        if self._file < 0:
            return
        if self._left:
            raise InterlockError(
                Reason.INTERNAL, "The archive from the executor is damaged: a file is cut off."
            )
        os.fchmod(self._file, self._mode)
        os.close(self._file)
        self._file = -1

    def _at(self, path: bytes) -> int:
        """The open directory at a path; members of one directory follow one another."""
        known, fd = self._parent
        if path == known:
            return fd
        opened = self._open(path) if path else self._root
        if fd != self._root:
            os.close(fd)
        self._parent = (path, opened)
        return opened

    def _open(self, path: bytes) -> int:
        here = os.dup(self._root)
        try:
            for part in path.split(b"/"):
                inner = os.open(part, _DIRECTORY, dir_fd=here)
                os.close(here)
                here = inner
        except BaseException:
            os.close(here)
            raise
        return here


def _check(path: bytes) -> None:
    parts = path.split(b"/")
    if b"" in parts or b"." in parts or b".." in parts or b"\0" in path:
        shown = path[:200].decode("utf-8", "backslashreplace")
        raise InterlockError(Reason.PATH_OUTSIDE_WORKSPACE, f"The archive has a member {shown!a}.")
