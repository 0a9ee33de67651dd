"""Advisory file locks (`flock`): the kernel drops them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from interlock.common.errors import InterlockError, Reason

_POLL = 0.01


class FileLock:
    """One open lock file. Instances exclude each other even within one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Takes the lock, or changes its kind, without waiting."""
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def acquire(self, seconds: float, *, shared: bool = False) -> None:
        """Takes the lock within so many seconds, else raises DATABASE_UNAVAILABLE."""
        deadline = time.monotonic() + seconds
        while not self.try_acquire(shared=shared):
            if time.monotonic() > deadline:
                self.release()
                raise InterlockError(
                    Reason.DATABASE_UNAVAILABLE,
                    f"Another process has kept {self.path} locked for {seconds:.0f} seconds.",
                    fix="See which process is starting or stopping the embedded database, and end it.",
                )
            time.sleep(_POLL)

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
