"""Memory that a running step holds in files without a name (memfd_create(2)), which need not be mapped to be filled."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from interlock.executor.sandbox.unlinked import tables

NAME: Final = "/memfd:"
"""How a link to one in /proc begins."""


def held(pids: Iterable[int]) -> dict[int, int]:
    """Bytes of those that the processes have open, by inode. Of processes that may not be looked at, nothing."""
    sizes: dict[int, int] = {}
    for thread in (thread for pid in pids for thread in tables(pid)):
        directory = f"/proc/{thread}/fd"
        with suppress(OSError):
            for name in os.listdir(directory):
                _count(f"{directory}/{name}", sizes)
    return sizes


def _count(path: str, sizes: dict[int, int]) -> None:
    with suppress(OSError):
        if os.readlink(path).startswith(NAME):
            found = os.stat(path)
            sizes[found.st_ino] = found.st_blocks * 512
