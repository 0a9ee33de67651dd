"""Looking at a running step's process tree through /proc: memory, processor time, number of threads.

Used where no cgroup counts. It samples: what lives shorter than the interval escapes it. Memory that no process has
mapped is not seen here; files in memory are (`memfds`), segments of System V that nobody is attached to are not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from interlock.executor.sandbox import memfds

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_US: Final = 1_000_000 // os.sysconf("SC_CLK_TCK")
_MOST: Final = 65_536


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `shared` counts a page once per process that has it mapped (it is an upper bound)."""

    pids: tuple[int, ...]
    tasks: int
    private: int
    shared: int
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
    tasks = private = shared = 0
    user, system = _times(root)[2:]
    while queue and len(pids) < _MOST:
        pid = queue.pop()
        threads = _threads(pid)
        if not threads:
            continue
        pids.append(pid)
        tasks += len(threads)
        memory = _resident(pid, threads)
        private, shared = private + memory[0], shared + memory[1]
        used = _times(pid)
        user, system = user + used[0] + used[2], system + used[1] + used[3]
        for thread in threads:
            queue.extend(_children(pid, thread))
    return Sample(tuple(pids), tasks, private, shared, user, system)


def exact_memory(pids: tuple[int, ...], files: Mapping[int, int]) -> int:
    """Memory with shared pages divided among those who share them, and what is not mapped of `files`; dear.

    `files`: bytes of files in memory, by inode.
    """
    mapped: dict[int, int] = {}
    total = sum(_proportional(pid, mapped if files else None) for pid in pids)
    return total + sum(max(0, size - mapped.get(inode, 0)) for inode, size in files.items())


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


def _resident(pid: int, threads: list[str]) -> tuple[int, int]:
    """Resident memory that is not a file's: the anonymous part, and shared memory.

    Of a process whose first thread has ended the others tell.
    """
    for thread in (str(pid), *threads):
        if len(found := _sizes(f"/proc/{thread}/status", "RssAnon:", "RssShmem:")) == 2:
            return found[0], found[1]
    return 0, 0


def _proportional(pid: int, mapped: dict[int, int] | None) -> int:
    """Its share; what that has of files in memory is added to `mapped`, by inode."""
    threads = _threads(pid)
    for thread in (str(pid), *threads):
        if found := _sizes(f"/proc/{thread}/smaps_rollup", "Pss_Anon:", "Pss_Shmem:"):
            if mapped is not None:
                _add_mapped(thread, mapped)
            return sum(found)
    return sum(_resident(pid, threads))


def _add_mapped(thread: str, mapped: dict[int, int]) -> None:
    inode = 0
    for line in _read(f"/proc/{thread}/smaps").splitlines():
        fields = line.split(maxsplit=5)
        if not fields[0].endswith(":"):
            inode = int(fields[4]) if len(fields) == 6 and fields[5].startswith(memfds.NAME) else 0
        elif inode and fields[0] == "Pss:":
            mapped[inode] = mapped.get(inode, 0) + int(fields[1]) * 1024


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
