"""Runners left over from an executor that was killed.

A runner dies with the executor that started it, except one that was killed before the runner had asked the kernel
for that: it goes on, and the end of the gate's pipe lets its command begin. So each runner carries a name of its
executor's directory, and the next executor on that directory ends whoever still has it.
"""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path


def name_of(directory: Path) -> str:
    """The name of the runners of an executor that keeps its state in `directory`."""
    return "interlock-step-" + hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:12]


def end_all(name: str) -> int:
    """SIGKILL every process with this name, and by that everything in its namespaces; how many there were.

    Only for whoever holds the executor's directory: the steps of a living executor have this name, too.
    """
    return sum(_end(int(entry), name) for entry in os.listdir("/proc") if entry.isdigit())


def _end(pid: int, name: str) -> bool:
    if not _has_name(pid, name):
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _has_name(pid, name):
            return False  # the number has a new owner
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(process)
    return True


def _has_name(pid: int, name: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(256).split(b"\0")[0] == name.encode()
    except OSError:
        return False
