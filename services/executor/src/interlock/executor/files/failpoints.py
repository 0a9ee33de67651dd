"""Named points at which tests stop the process, to prove that any instant is survivable.

Off (the normal case) a point costs one comparison. A test's subprocess calls `arm("name:n")`, and is sent SIGKILL at
the n-th time (from 1) it passes that point; `*` matches every point.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

action: Callable[[str], None] | None = None
"""Called with each point's name; None is off."""


def hit(name: str) -> None:
    """Pass the point `name`."""
    if action is not None:
        action(name)


def arm(spec: str) -> None:
    """Send this process SIGKILL at the point named by `spec` (`name[:n]`); an empty spec switches off."""
    global action
    name, _, count = spec.partition(":")
    left = int(count or "1")

    def kill(passed: str) -> None:
        nonlocal left
        if name in ("*", passed):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    action = kill if spec else None
