"""Heads of runs' journals, noted as the feed tells them: an auditor's own copy of what cannot be taken back later."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from interlock.common.errors import InterlockError, Reason
from interlock.verify import heads


class HeadsFile(AbstractAsyncContextManager["HeadsFile"]):
    """Adds lines of `RUN SEQ DIGEST` to a file, each durable before the next is taken.

    Args:
        path: the file; empty = note nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    async def __aenter__(self) -> HeadsFile:
        """Opens the file. Raises INVALID_ARGUMENT when it cannot be written."""
        if self._path:
            self._file = self._open()
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._file is not None:
            os.close(self._file)

    def note(self, run_id: str, seq: int, digest: str) -> None:
        """Adds a head; one that a service of an earlier release does not tell is left out."""
        if self._file is None or not digest:
            return
        try:
            os.write(self._file, heads.line(run_id, seq, digest).encode())
            os.fsync(self._file)
        except OSError as error:
            raise self._refused(error) from None

    def _open(self) -> int:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size = os.fstat(file).st_size
            # A line that was cut off by a crash says nothing: it must not swallow the next one.
            if size and os.pread(file, 1, size - 1) != b"\n":
                _drop_cut_line(file, size)
        except OSError as error:
            raise self._refused(error) from None
        return file

    def _refused(self, error: OSError) -> InterlockError:
        message = f"Cannot write {self._path}: {error.strerror}."
        return InterlockError(Reason.INVALID_ARGUMENT, message, field="record-heads")


def _drop_cut_line(file: int, size: int) -> None:
    tail = os.pread(file, min(size, 4096), max(0, size - 4096))
    os.ftruncate(file, size - len(tail) + tail.rfind(b"\n") + 1)
