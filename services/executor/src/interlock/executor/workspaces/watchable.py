"""Where inotify tells of every change: local file systems, and no mount inside the directory."""

from __future__ import annotations

import ctypes
import os
import re
import select
from pathlib import Path
from typing import Final

# Elsewhere (NFS, SMB, FUSE, 9p, virtiofs …) others change files without this kernel knowing. statfs(2) has the numbers.
_LOCAL: Final = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x794C7630,  # overlayfs
    }
)
_libc = ctypes.CDLL(None, use_errno=True)


def is_local(fd: int) -> bool:
    """Whether `fd` is on a file system all of whose changes go through this kernel."""
    kind = ctypes.c_long.from_buffer(buffer := ctypes.create_string_buffer(256))
    if _libc.fstatfs(fd, buffer) != 0:
        return False
    return kind.value & 0xFFFFFFFF in _LOCAL


class Mounts:
    """Notices mounts: inotify does not tell of one that covers a watched directory."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI)
        self._points: list[bytes] = []
        self._stale = True

    def close(self) -> None:
        """Close it; may be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def below(self, directory: Path) -> bool:
        """Whether something is mounted somewhere below `directory`, a canonical path."""
        if self._stale or self._poll.poll(0):
            self._points, self._stale = self._read(), False
        top = bytes(directory) + b"/"
        return any(point.startswith(top) for point in self._points)

    def _read(self) -> list[bytes]:
        os.lseek(self._fd, 0, os.SEEK_SET)
        data = b""
        while chunk := os.read(self._fd, 1 << 16):
            data += chunk
        return [_plain(line.split(b" ")[4]) for line in data.splitlines()]


def _plain(field: bytes) -> bytes:
    # proc(5): space, tab, newline and backslash are written in octal.
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
