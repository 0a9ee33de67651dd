"""Looking at a running step's process tree through /proc: memory, processor time, number of threads.

Used where no cgroup counts. It samples: what lives shorter than the interval, and memory that no process has mapped
(an unmapped memfd), escapes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_US: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")
_MOST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `memory` counts shared pages once per process (it is an upper bound)."""

    pids: tuple[int, ...]
    tasks: int
    memory: int
    user_us: int
    system_us: int


def look(root: int, beside: int = 0) -> Sample:
    """Everything below process `root`, which is the runner's and inherits orphans: nothing can leave it.

    With it `beside`, unless that is 0, and everything below that.

    Of the root itself only the time counts of those it has waited for.
    """
    pids: list[int] = []
    queue = [child for thread in _threads(root) for child in _children(root, thread)]
    queue += [beside] if beside else []
    tasks = memory = 0
    user, system = _times(root)[2:]
    while queue and len(pids) < _MOST:
        pid = queue.pop()
        threads = _threads(pid)
        if not threads:
            continue
        pids.append(pid)
        tasks += len(threads)
        memory += _anonymous(pid, threads)
        used = _times(pid)
        user, system = user + used[0] + used[2], system + used[1] + used[3]
        for thread in threads:
            queue.extend(_children(pid, thread))
    return Sample(tuple(pids), tasks, memory, user, system)


def proportional_memory(pids: tuple[int, ...]) -> int:
    """Memory with shared pages divided among those who share them; dearer, and exact."""
    return sum(_pss(pid) for pid in pids)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _children(pid: int, thread: str) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def _anonymous(pid: int, threads: list[str]) -> int:
    """Resident memory that is not a file's: the anonymous part, and shared memory.

    Of a process whose first thread has ended the others tell.
    """
    for thread in (str(pid), *threads):
        if found := _sizes(f"/proc/{thread}/status", "RssAnon:", "RssShmem:"):
            return sum(found)
    return 0


def _pss(pid: int) -> int:
    threads = _threads(pid)
    for thread in (str(pid), *threads):
        if found := _sizes(f"/proc/{thread}/smaps_rollup", "Pss_Anon:", "Pss_Shmem:"):
            return sum(found)
    return _anonymous(pid, threads)


def _sizes(path: str, *names: str) -> list[int]:
    return [int(line.split()[1]) * 1024 for line in _read(path).splitlines() if line.startswith(names)]


def _times(pid: int) -> tuple[int, int, int, int]:
    """User and system time of itself, then of the children it has waited for."""
    # After the last `)`: the name before it may hold anything. Fields 14 to 17 of proc(5).
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 15:
        return 0, 0, 0, 0
    user, system, child_user, child_system = (int(field) for field in fields[11:15])
    return user * _TICK_US, system * _TICK_US, child_user * _TICK_US, child_system * _TICK_US
