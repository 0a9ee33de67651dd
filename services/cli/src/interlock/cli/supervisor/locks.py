"""Who uses a data directory. The kernel drops these locks when a process dies, so nothing has to be cleaned up.

`up.lock` is held by the one supervisor. `users.lock` is shared by commands that borrow the services of a
temporary supervisor; it stops when nobody shares it any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from interlock.client.endpoints import LOCK_FILE
from interlock.common.errors import InterlockError, Reason

USERS_FILE = "users.lock"
_PROBE_SECONDS = 1.0
_PAUSE = 0.05


class Lock:
    """An open lock file. Closing it releases the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def open(self) -> None:
        """Open the file, made if missing. Raises PERMISSION_DENIED or INVALID_ARGUMENT when that is not possible."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InterlockError(
                Reason.PERMISSION_DENIED if isinstance(error, PermissionError) else Reason.INVALID_ARGUMENT,
                f"Cannot use the data directory {self._path.parent}: {error.strerror}.",
                field="INTERLOCK_DATA_DIR",
                fix="Choose a directory that this user can write, by --data-dir or INTERLOCK_DATA_DIR.",
            ) from None

    def close(self) -> None:
        """Release and close."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def attempt(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    async def acquire(self, seconds: float, *, shared: bool = False) -> bool:
        """Take the lock within a time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.attempt(shared=shared):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(_PAUSE)
        return True

    def write(self, text: str) -> None:
        """Replace the file's content."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text.encode(), 0)

    def read(self) -> str:
        """The file's content, at most 100 bytes."""
        return os.pread(self._fd, 100, 0).decode("ascii", "replace").strip()


async def hold_directory(directory: Path) -> Lock:
    """Become the supervisor of a data directory. Raises UNAVAILABLE naming the process that is it already."""
    lock = Lock(directory / LOCK_FILE)
    lock.open()
    # Commands that look whether it is held take a share for an instant.
    if not await lock.acquire(_PROBE_SECONDS):
        pid = lock.read() or "unknown"
        lock.close()
        raise InterlockError(
            Reason.UNAVAILABLE,
            f"Interlock runs on {directory} already, as process {pid}.",
            field="data-dir",
            fix=f"Use it, stop it (kill {pid}), or choose another directory by --data-dir.",
            metadata={"pid": pid},
        )
    lock.write(f"{os.getpid()}\n")
    return lock
