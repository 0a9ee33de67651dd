"""Files that a running step has deleted and keeps: open, or mapped. No directory shows them; they fill the disk."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

_KCMP: Final = {"x86_64": 312, "aarch64": 272}
_KCMP_FILES: Final = 2
_libc = ctypes.CDLL(None)
_NO_FILES: Final = ("/memfd:", "/SYSV", "/dev/zero")


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that a fork is on, as it was before its step.

    Args:
        path: the fork's upper directory.
        kind: what tells it from others, also through an overlay: its numbers of blocks and inodes.
        free: bytes that were free.
        since: when the step was not there yet, nanoseconds. What did not change since is of the base.
    """

    path: str
    kind: tuple[int, int, int]
    free: int
    since: int

    @classmethod
    def of(cls, path: str) -> Disk:
        """Raises OSError."""
        found = os.statvfs(path)
        return cls(path, _kind(found), found.f_bfree * found.f_frsize, os.stat(path).st_ctime_ns)

    def taken(self) -> int:
        """Bytes by which less is free now, whoever took them; 0 where it is more."""
        try:
            found = os.statvfs(self.path)
        except OSError:
            return 0
        return max(0, self.free - found.f_bfree * found.f_frsize)


@dataclass(slots=True)
class Found:
    """What a look found.

    Args:
        files: bytes on disk of each deleted file, by device and inode.
        mapped: how far each was mapped that is known from maps alone; it may have holes.
    """

    files: dict[tuple[int, int], int] = field(default_factory=dict)
    mapped: dict[tuple[str, str], int] = field(default_factory=dict)

    def most(self, taken: int) -> int:
        """Bytes that they hold. `taken` bounds what is not known for certain."""
        known = sum(self.files.values())
        return known + min(sum(self.mapped.values()), max(0, taken - known))


def look(pids: Iterable[int], disk: Disk) -> Found:
    """What the processes hold of deleted files on `disk`. Of those that may not be looked at, nothing."""
    found = Found()
    for thread in (thread for pid in pids for thread in tables(pid)):
        for path in _open_files(thread):
            _count(path, disk, found)
        for path, name, reach in _maps(thread):
            if not _count(path, disk, found):
                found.mapped[name] = max(found.mapped.get(name, 0), reach)
    return found


def _count(path: str, disk: Disk, found: Found) -> bool:
    """False when it may not be looked at."""
    try:
        info = os.stat(path)
        ours = (
            info.st_nlink == 0
            and stat.S_ISREG(info.st_mode)
            and info.st_ctime_ns > disk.since
            and _kind(os.statvfs(path)) == disk.kind
        )
    except PermissionError:
        return False
    except OSError:
        return True  # gone meanwhile
    if ours:
        found.files[info.st_dev, info.st_ino] = info.st_blocks * 512
    return True


def _kind(found: os.statvfs_result) -> tuple[int, int, int]:
    return found.f_bsize, found.f_blocks, found.f_files


def tables(pid: int) -> list[int]:
    """Threads that between them have every table of descriptors of a process.

    Each thread can have one of its own, and the first one, whose number is the process's, can have ended.
    """
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    apart: list[int] = []
    for thread in threads:
        if not any(_share(thread, other) for other in apart):
            apart.append(thread)
    return apart


def _share(thread: int, other: int) -> bool:
    number = _KCMP.get(os.uname().machine)
    return number is not None and _libc.syscall(number, thread, other, _KCMP_FILES, 0, 0) == 0


def _open_files(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    yield from (f"/proc/{pid}/fd/{name}" for name in names)
    yield f"/proc/{pid}/exe"


def _maps(pid: int) -> Iterator[tuple[str, tuple[str, str], int]]:
    """Mappings of deleted files: where each can be looked at, device and inode, and the end of what is mapped."""
    try:
        with open(f"/proc/{pid}/maps", errors="replace") as file:
            lines = [line for line in file if line.endswith("(deleted)\n")]
    except OSError:
        return
    for line in lines:
        span, _, offset, device, inode, name = line.split(maxsplit=5)
        if not name.startswith(_NO_FILES):
            start, end = (int(part, 16) for part in span.split("-"))
            place = f"/proc/{pid}/map_files/{start:x}-{end:x}"
            yield place, (device, inode), int(offset, 16) + end - start
