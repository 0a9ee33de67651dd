"""inotify(7) by ctypes: one instance, its watches, and its events.

The kernel queues an event before the system call that caused it returns, so that reading everything queued tells of
everything that had finished by then.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MODIFY: Final = 0x00000002
ATTRIB: Final = 0x00000004
CLOSE_WRITE: Final = 0x00000008
MOVED_FROM: Final = 0x00000040
MOVED_TO: Final = 0x00000080
CREATE: Final = 0x00000100
DELETE: Final = 0x00000200
DELETE_SELF: Final = 0x00000400
MOVE_SELF: Final = 0x00000800
UNMOUNT: Final = 0x00002000
Q_OVERFLOW: Final = 0x00004000
IGNORED: Final = 0x00008000
ONLYDIR: Final = 0x01000000
ISDIR: Final = 0x40000000

_HEAD = struct.Struct("iIII")  # wd, mask, cookie, length of the name
_BUFFER: Final = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """One event: the watch, what happened (flags), and the name in the watched directory (empty: itself)."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """One instance. Not thread-safe. Raises OSError (EMFILE where the user has too many instances)."""

    def __init__(self) -> None:
        self.fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise _error()

    def close(self) -> None:
        """Give up all watches; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def add(self, directory_fd: int, mask: int) -> int:
        """Watch an open directory, wherever it is; the same one twice gives the same number. Raises OSError.

        ENOSPC: the user has too many watches (fs.inotify.max_user_watches).
        """
        # Through /proc, because a path could be another directory by now.
        watch = int(_libc.inotify_add_watch(self.fd, b"/proc/self/fd/%d" % directory_fd, mask | ONLYDIR))
        if watch < 0:
            raise _error()
        return watch

    def remove(self, watch: int) -> None:
        """End one watch; one that has ended already is not an error."""
        if _libc.inotify_rm_watch(self.fd, watch) < 0 and ctypes.get_errno() != errno.EINVAL:
            raise _error()

    def events(self) -> Iterator[Event]:
        """Everything queued now."""
        while True:
            try:
                data = os.read(self.fd, _BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                yield Event(watch, mask, data[at : at + length].rstrip(b"\0"))
                at += length


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
