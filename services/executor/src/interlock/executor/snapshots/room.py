"""Room on the disk: how much there is, and a reserve with which to make some when there is none.

Deleting writes, too: SQLite logs what it deletes. On a disk without a free byte nothing could be collected, so the
store keeps a file that it gives up then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock.executor.snapshots.database import free_bytes

RESERVE: Final = 8 << 20
"""Bytes of the reserve, or a sixteenth of what is free where that is less."""


class Reserve:
    """A file of nothing, allocated."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "reserve"
        self._take()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Where space is short, this one's is free until the block ends; then it is taken again, if there is any."""
        if free_bytes(self._path.parent) >= RESERVE:
            yield
            return
        self._path.unlink(missing_ok=True)
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        size = min(RESERVE, free_bytes(self._path.parent) // 16)
        with contextlib.suppress(OSError):
            if size > 0 and not self._path.exists():
                fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(fd, 0, size)
                finally:
                    os.close(fd)
