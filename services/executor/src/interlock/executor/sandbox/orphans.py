"""Runners left over from an executor that was killed.

A runner dies with the executor that started it, except one that was killed before the runner had asked the kernel
for that: it goes on, and the end of the gate's pipe lets its command begin. So each runner carries a name of its
executor's directory, and the next executor on that directory ends whoever still has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
from pathlib import Path


def name_of(directory: Path) -> str:
    """The name of the runners of an executor that keeps its state in `directory`."""
    return "interlock-step-" + hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:12]


def rules_name(name: str) -> str:
    """The name of supervisors, which end their step themselves when asked to."""
    return f"{name}-rules"


def end_every(name: str) -> int:
    """End what any backend may have left on a directory; how many runners and supervisors there were."""
    return end_all(name) + ask_all(rules_name(name))


def end_all(name: str) -> int:
    """SIGKILL every process with this name, and by that everything in its namespaces; how many there were.

    Only for whoever holds the executor's directory: the steps of a living executor have this name, too.
    """
    return sum(_end(int(entry), name, signal.SIGKILL) for entry in os.listdir("/proc") if entry.isdigit())


def ask_all(name: str, patience: float = 30.0) -> int:
    """SIGTERM every process with this name, a supervisor that ends its step then, and wait for their end."""
    asked = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    asked = [pid for pid in asked if _end(pid, name, signal.SIGTERM)]
    for pid in asked:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        select.select([process], [], [], patience)
        os.close(process)
    return len(asked)


def end_adopted() -> int:
    """SIGKILL and collect the children of this process that are below a system call filter it did not start: what a
    supervisor left that was killed itself. Blocks until none is left; how many there were.
    """
    own, found = _filters(os.getpid()), 0
    while strays := [pid for pid in children() if _filters(pid) > own]:
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        found += len(strays)
    return found


def children() -> list[int]:
    """The children of this process."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/children") as file:
            found += map(int, file.read().split())
    return found


def _filters(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("Seccomp_filters:"):
                return int(line.split()[1])
    return 0


def _end(pid: int, name: str, number: signal.Signals) -> bool:
    if not _has_name(pid, name):
        return False
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not _has_name(pid, name):
            return False  # the number has a new owner
        signal.pidfd_send_signal(process, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(process)
    return True


def _has_name(pid: int, name: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return name.encode() in file.read(4096).split(b"\0")[:8]
    except OSError:
        return False
