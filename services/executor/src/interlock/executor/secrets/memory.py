"""The executor's own memory, which holds secrets while steps use them."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """No core dumps of this process, and no other process of its user may read its memory or environment (prctl(2)).

    What it starts is not affected: that ends with execve.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
