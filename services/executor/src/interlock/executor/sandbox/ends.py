"""How a process ended that is somebody else's child: by itself or by a signal.

bubblewrap, like a shell, tells 128 + n for signal n, which a program can exit with as well. The kernel keeps a wait
status with a pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15), if that was opened before the process was
waited for. So the first process of a step's namespace is held between starting the command and waiting for it: it
locks a file then (`--lock-file`), and opening a FIFO for that lasts until somebody opens it for writing.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import os
import secrets
import select
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

HOLD: Final = "/dev/.hold"
"""Where the first process finds what holds it."""

# _IOWR(0xFF, 11, struct pidfd_info) of linux/pidfd.h in its first size, and a bit of its first field, `mask`.
_GET_INFO: Final = 3 << 30 | 64 << 16 | 0xFF << 8 | 11
_EXIT: Final = 1 << 3
_MASK, _STATUS = struct.Struct("=Q"), struct.Struct("=i")
_STATUS_AT: Final = 60
_PAUSE, _LONGEST_PAUSE = 0.0003, 0.005


def status_of(pidfd: int) -> int | None:
    """The wait status of an ended process; None when it was not waited for, or the kernel does not tell."""
    info = bytearray(64)
    _MASK.pack_into(info, 0, _EXIT)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    told = bool(_MASK.unpack_from(info, 0)[0] & _EXIT)
    return int(_STATUS.unpack_from(info, _STATUS_AT)[0]) if told else None


@functools.cache
def can_tell() -> bool:
    """Whether this kernel tells how others' children ended, by asking it of one of ours."""
    with subprocess.Popen(["/bin/sh", "-c", "exit 3"], env={}, stdin=subprocess.DEVNULL) as child:
        pidfd = os.pidfd_open(child.pid)
    try:
        return status_of(pidfd) == 3 << 8
    finally:
        os.close(pidfd)


class Hold:
    """Holds the first process of one step's namespace until its command is known.

    The FIFO is made in `directory`; a step can read it and not write to it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / secrets.token_hex(8)
        self._writer = self._command = -1
        os.mkfifo(self.path, 0o400)
        self.path.chmod(0o444)

    def options(self) -> list[str]:
        """bubblewrap's options; after those that make /dev."""
        return ["--ro-bind", str(self.path), HOLD, "--lock-file", HOLD]

    async def meet(self, init: int, ends: tuple[int, ...]) -> None:
        """Wait until `init` has a child, which is the command, and let it go on. Also when one of `ends` is readable.

        Only the first call does anything.
        """
        pause, poll = _PAUSE, select.poll()
        for fd in ends:
            poll.register(fd, select.POLLIN)
        while self._command < 0 and not poll.poll(0):
            if (pid := _first_child(init)) is not None:
                with suppress(OSError):
                    self._command = os.pidfd_open(pid)
                self._let_go()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _let_go(self) -> None:
        # Until now nobody may write: where the executor has the same uid, the step owns it. The first process may not
        # have opened it yet.
        self.path.chmod(0o644)
        self._writer = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.path.unlink()

    def signal(self) -> int | None:
        """After the end: the signal that ended the command, 0 for none, None when that is not known."""
        status = status_of(self._command) if self._command >= 0 else None
        if status is None:
            return None
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def close(self) -> None:
        """Forget it. Idempotent."""
        for fd in (self._writer, self._command):
            if fd >= 0:
                os.close(fd)
        self._writer = self._command = -1
        self.path.unlink(missing_ok=True)


def _first_child(pid: int) -> int | None:
    """The oldest, which also when it has ended stays there until it is waited for."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            found = file.read().split()
    except OSError:
        return None
    return int(found[0]) if found else None
