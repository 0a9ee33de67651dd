"""Unpacking a tar or zip file nobody vouches for.

Members are written one by one below an open directory; none is trusted: absolute paths, `..`, hard links, devices,
fifos and symlinks that point outside are refused, and limits are checked while unpacking, not after.
"""

from __future__ import annotations

import lzma
import math
import os
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import parent_and_name, shown, split_path, to_bytes
from interlock.executor.files.root import Root
from interlock.executor.snapshots.model import Limits, limit_exceeded

_CHUNK: Final = 1 << 20
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError),
    # What the standard library's readers answer to fields that make no sense.
    *(ValueError, OverflowError, LookupError, struct.error),
)
_LATEST = 8_589_934_591
"""Seconds since 1970 that a tar header has room for: the year 2242."""


@dataclass(frozen=True)
class _Member:
    name: bytes
    kind: str  # f, d or l
    mode: int
    mtime: int
    target: bytes = b""
    open: Callable[[], IO[bytes]] | None = None


def extract(archive: Path, destination: Path, limits: Limits, *, strip: int = 0) -> None:
    """Unpack `archive` into the empty directory `destination`, dropping `strip` leading path components.

    Raises WORKSPACE_SOURCE_INVALID (not an archive, damaged, or with a member that is refused, by name);
    WORKSPACE_LIMIT_EXCEEDED.
    """
    if strip < 0:
        raise InterlockError(Reason.INVALID_ARGUMENT, "strip cannot be negative.", field="strip")
    try:
        with Root.open(destination) as root:
            writer = _Writer(root, limits, strip)
            for member in _members(archive):
                writer.write(member)
            writer.finish()
    except _DAMAGED as error:
        raise _invalid(f"The archive is damaged or of an unknown kind: {shown(str(error))[:200]}") from None
    except (OSError, RuntimeError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise _invalid(f"The archive cannot be unpacked: {shown(why)[:200]}") from None


def _members(archive: Path) -> Iterator[_Member]:
    with open(archive, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _invalid(f"{shown(str(archive))} is not a regular file")
        if zipfile.is_zipfile(file):
            yield from _zip_members(file)
        else:
            file.seek(0)
            yield from _tar_members(file)


def _tar_members(file: IO[bytes]) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r:*", encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            kind = _tar_kind(info)
            name = to_bytes(info.name)

            def content(info: tarfile.TarInfo = info, name: bytes = name) -> IO[bytes]:
                opened = tar.extractfile(info)
                if opened is None:
                    raise _invalid(f"The archive's member {shown(name)} has no content")
                return opened

            yield _Member(name, kind, info.mode & 0o777, _time(info.mtime), to_bytes(info.linkname), content)


def _time(seconds: float) -> int:
    """A member's time within what files can have; a pax header can say anything."""
    return int(min(max(seconds, 0), _LATEST)) if math.isfinite(seconds) else 0


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "d"
    if info.issym():
        return "l"
    if info.isreg():
        return "f"
    what = "a hard link" if info.islnk() else "a device, fifo or something else that is no file"
    raise _invalid(f"The archive's member {shown(info.name)} is {what}")


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            mtime = int(time.mktime((*info.date_time, 0, 0, -1)))
            name = to_bytes(info.filename)

            def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return archive.open(info)

            if info.is_dir():
                yield _Member(name, "d", mode & 0o777 or 0o755, mtime)
            elif stat.S_ISLNK(mode):
                with archive.open(info) as link:
                    yield _Member(name, "l", 0, mtime, link.read(4097))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _invalid(f"The archive's member {shown(name)} is a device, fifo or socket")
            else:
                yield _Member(name, "f", mode & 0o777 or 0o644, mtime, open=content)


class _Writer:
    def __init__(self, root: Root, limits: Limits, strip: int) -> None:
        self.root, self.limits, self.strip = root, limits, strip
        self.entries = self.bytes = 0
        self.directories: dict[bytes, tuple[int, int]] = {}

    def write(self, member: _Member) -> None:
        parts = self.parts(member)
        if not parts:
            return
        self.count()
        path = b"/".join(parts)
        if member.kind == "d":
            self.make_directories(parts)
            self.directories[path] = (member.mode | 0o700, member.mtime)
            return
        self.make_directories(parts[:-1])
        parent, name = parent_and_name(path)
        fd = self.root.open_dir(parent)
        try:
            self.replace(fd, name, member)
            if member.kind == "l":
                self.link(fd, name, parts, member)
            else:
                self.file(fd, name, member)
            times = (member.mtime * 10**9, member.mtime * 10**9)
            os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def parts(self, member: _Member) -> tuple[bytes, ...]:
        try:
            parts = split_path(member.name, allow_root=True)
        except InterlockError as error:
            raise _invalid(f"The archive's member {shown(member.name)} is refused: {error.message}") from None
        if len(parts) > self.limits.depth:
            raise limit_exceeded(self.limits, "depth", len(parts), shown(member.name[:80]))
        return parts[self.strip :]

    def count(self) -> None:
        self.entries += 1
        if self.entries > self.limits.entries:
            raise limit_exceeded(self.limits, "entries", self.entries)

    def make_directories(self, parts: tuple[bytes, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            path = b"/".join(parts[:depth])
            if path in self.directories:
                continue
            parent, name = parent_and_name(path)
            fd = self.root.open_dir(parent)
            try:
                os.mkdir(name, 0o755, dir_fd=fd)
            finally:
                os.close(fd)
            self.directories[path] = (0o755, -1)

    def replace(self, fd: int, name: bytes, member: _Member) -> None:
        # A later member of the same name wins, as with tar(1); a directory is never replaced.
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            raise _invalid(f"The archive has {shown(member.name)} twice, once as a directory") from None

    def link(self, fd: int, name: bytes, parts: tuple[bytes, ...], member: _Member) -> None:
        depth = len(parts) - 1
        target = member.target
        if not target or len(target) > 4000 or b"\0" in target or target.startswith(b"/"):
            raise _invalid(f"The archive's symbolic link {shown(member.name)} points outside of it")
        for part in target.split(b"/"):
            depth += -1 if part == b".." else part not in (b"", b".")
            if depth < 0:
                raise _invalid(f"The archive's symbolic link {shown(member.name)} points outside of it")
        os.symlink(target, name, dir_fd=fd)

    def file(self, fd: int, name: bytes, member: _Member) -> None:
        assert member.open is not None
        size = 0
        out = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
        try:
            with member.open() as content:
                while chunk := content.read(_CHUNK):
                    size += len(chunk)
                    self.bytes += len(chunk)
                    if size > self.limits.file_bytes:
                        raise limit_exceeded(self.limits, "file_bytes", size, shown(member.name[:200]))
                    if self.bytes > self.limits.content_bytes:
                        raise limit_exceeded(self.limits, "content_bytes", self.bytes)
                    view = memoryview(chunk)
                    while view:
                        view = view[os.write(out, view) :]
            os.fchmod(out, member.mode)
        finally:
            os.close(out)

    def finish(self) -> None:
        for path in sorted(self.directories, reverse=True):
            mode, mtime = self.directories[path]
            fd = self.root.open_dir(path)
            try:
                os.fchmod(fd, mode)
                if mtime >= 0:
                    os.utime(fd, (mtime, mtime))
            finally:
                os.close(fd)


def _invalid(message: str) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_SOURCE_INVALID,
        message + ".",
        field="source",
        fix="Unpack it yourself, look at it, and import the directory.",
    )
