"""Bounded reading of one file, and listing of one directory, below a root."""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal, NamedTuple

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import clean_path, shown, to_text
from interlock.executor.files.root import Root

Kind = Literal["file", "directory", "symlink", "other"]


class FileContent(NamedTuple):
    """Bytes `[offset, offset + len(data))` of a file of `size` bytes with permission bits `mode`.

    `path` is where a tree has the file, when symbolic links were followed; empty where that is not known.
    """

    data: bytes
    offset: int
    size: int
    mode: int
    path: str = ""


class Listed(NamedTuple):
    """One name in a directory. `name` is text (surrogateescape); `size` is 0 for directories."""

    name: str
    kind: Kind
    mode: int
    size: int


def read_regular(root: Root, path: str | bytes, *, offset: int = 0, limit: int) -> FileContent:
    """At most `limit` bytes of the regular file at `path`, from `offset`. Symlinks inside are followed.

    Raises: PATH_OUTSIDE_WORKSPACE, INVALID_ARGUMENT (see `split_path`; also a negative offset or limit),
    PATH_NOT_FOUND, PATH_IS_DIRECTORY, PATH_NOT_REGULAR (fifo, socket, device), PERMISSION_DENIED.
    """
    if offset < 0 or limit < 0:
        raise InterlockError(Reason.INVALID_ARGUMENT, "A range cannot be negative.", field="offset")
    name = clean_path(path)
    try:
        fd = root.open_file(name, follow=True)
    except OSError as error:
        raise path_error(error, name) from None
    try:
        status = os.fstat(fd)
        _check_regular(status, name)
        return FileContent(_read_all(fd, offset, limit), offset, status.st_size, stat.S_IMODE(status.st_mode))
    finally:
        os.close(fd)


def list_directory(root: Root, path: str | bytes = b"", *, limit: int = 10_000) -> list[Listed]:
    """The names in a directory, sorted by their bytes, at most `limit` of them.

    Raises like `read_regular`; PATH_NOT_FOUND also where a file stands instead of a directory.
    """
    name = clean_path(path, allow_root=True)
    try:
        fd = root.open_dir(name, follow=True)
    except OSError as error:
        raise path_error(error, name) from None
    try:
        with os.scandir(fd) as entries:
            found = [_listed(entry) for entry in entries]
    finally:
        os.close(fd)
    return sorted(found, key=lambda item: os.fsencode(item.name))[:limit]


def path_error(error: OSError, path: bytes) -> InterlockError:
    """The typed error for what opening `path` below a workspace answered."""
    name = shown(path or b".")
    code = error.errno
    if code in (errno.EXDEV, errno.ELOOP):
        return InterlockError(
            Reason.PATH_OUTSIDE_WORKSPACE,
            f"{name} leads out of the workspace, over a mount, or through a symbolic link.",
            field="path",
            fix="Name the file by its own path inside the workspace.",
        )
    if code in (errno.ENOENT, errno.ENOTDIR):
        return InterlockError(Reason.PATH_NOT_FOUND, f"There is no {name} in the workspace.", field="path")
    if code in (errno.EACCES, errno.EPERM):
        return InterlockError(
            Reason.PERMISSION_DENIED,
            f"The executor may not open {name}.",
            field="path",
            fix="Check its mode.",
        )
    if code in (errno.ENXIO, errno.ENODEV):
        return _not_regular(name)
    if code == errno.ENAMETOOLONG:
        return InterlockError(Reason.INVALID_ARGUMENT, f"The name {name} is too long.", field="path")
    return InterlockError(Reason.INTERNAL, f"Opening {name} failed: {os.strerror(code or 0)}.")


def _check_regular(status: os.stat_result, path: bytes) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InterlockError(Reason.PATH_IS_DIRECTORY, f"{shown(path)} is a directory.", field="path")
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(shown(path))


def _not_regular(name: str) -> InterlockError:
    return InterlockError(
        Reason.PATH_NOT_REGULAR, f"{name} is a device, socket or fifo, not a regular file.", field="path"
    )


def _read_all(fd: int, offset: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    while limit > 0:
        chunk = os.pread(fd, min(limit, 1 << 20), offset)
        if not chunk:
            break
        chunks.append(chunk)
        offset += len(chunk)
        limit -= len(chunk)
    return b"".join(chunks)


def _listed(entry: os.DirEntry[str]) -> Listed:
    status = entry.stat(follow_symlinks=False)
    return Listed(
        to_text(os.fsencode(entry.name)), _kind(status.st_mode), stat.S_IMODE(status.st_mode), _size(status)
    )


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def _size(status: os.stat_result) -> int:
    return 0 if stat.S_ISDIR(status.st_mode) else status.st_size
