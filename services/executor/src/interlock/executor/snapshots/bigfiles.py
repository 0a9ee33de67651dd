"""The big objects of the store: a file each, `<first two hex digits>/<hex>` below one directory.

A file has its name only when it is complete and on the disk; the row that names it is written after it, and deleted
before it. The caller sees to that order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from interlock.executor.snapshots.database import sync_directory
from interlock.executor.snapshots.problems import damaged, missing

_CHUNK: Final = 1 << 20


class BigFiles:
    """The files below `directory`, which is made if absent. What a killed process was writing is removed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in directory.glob(".new-*"):
            left.unlink()  # only one process at a time uses the directory

    def path(self, object_id: bytes) -> Path:
        """Where the object is, or would be."""
        text = object_id.hex()
        return self._directory / text[:2] / text

    def chunks(self, object_id: bytes) -> Iterator[bytes]:
        """The object's bytes in pieces, checked at their end. Raises TREE_NOT_FOUND, EFFECT_TAMPERED."""
        digest = hashlib.sha256()
        try:
            with open(self.path(object_id), "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise missing(object_id) from None
        if digest.digest() != object_id:
            raise damaged(object_id)

    def temporary(self, name: str) -> Path:
        """Where an object is collected before its id is known."""
        return self._directory / f".new-{name}"

    def adopt(self, temporary: Path, object_id: bytes) -> None:
        """Give a finished, fsynced temporary file its name, durably."""
        target = self.path(object_id)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True, mode=0o700)
            sync_directory(self._directory)
        os.rename(temporary, target)
        sync_directory(target.parent)

    def unchanged_since(self, before: float) -> Iterator[tuple[bytes, Path]]:
        """Id and place of every file that was last written before a time (seconds since 1970)."""
        for path in self._directory.glob("??/*"):
            if path.stat().st_mtime < before:
                yield bytes.fromhex(path.name), path
