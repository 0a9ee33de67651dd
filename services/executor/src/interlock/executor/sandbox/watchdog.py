"""Looks at a running step until it passes a limit. What a cgroup counts is read there, the rest is sampled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from interlock.executor.sandbox import disk, memfds, tree, unlinked
from interlock.executor.sandbox.base import NO_OVERHEAD, Exceeded, Limits, Overhead
from interlock.executor.sandbox.cgroups import Group

INTERVAL: Final = 0.05
"""Seconds between two looks; longer where a look takes long, so that looking costs at most a fifth of a core."""
_NOTICED: Final = 4 << 20
_EVERY: Final = 20
"""Deleted files are looked for when the disk lost this many bytes more than are seen, and every so many looks."""

Look = Callable[[Iterable[int], unlinked.Disk], unlinked.Found]


class Watchdog:
    """Samples one step. The peaks and times seen so far are kept for its record.

    Args:
        root: the runner's process that all of the step are below of.
        limits: what it may use.
        group: its cgroup, if there is one.
        upper: its fork's upper directory, if it has one.
        held: bytes and entries that were in it before.
        output: returns the bytes of output so far.
        beside: returns a process of the step that is not below `root`, or 0.
        scratch: a directory on disk in place of /tmp, if it is no mount with a size of its own.
        own: what the runner itself takes of what is counted here.
        look: finds deleted files that the step keeps.
        held_memory: finds what it holds in files without a name in memory.
    """

    def __init__(
        self,
        root: int,
        limits: Limits,
        group: Group | None,
        upper: str | None,
        output: Callable[[], int],
        held: tuple[int, int] = (0, 0),
        scratch: str | None = None,
        beside: Callable[[], int] = lambda: 0,
        own: Overhead = NO_OVERHEAD,
        look: Look = unlinked.look,
        held_memory: Callable[[Iterable[int]], dict[int, int]] = memfds.held,
    ) -> None:
        self._root, self._limits, self._group = root, limits, group
        self._upper, self._output, self._held, self._scratch = upper, output, held, scratch
        self._beside, self._own, self._find, self._held_memory = beside, own, look, held_memory
        self._disk = unlinked.Disk.of(upper) if upper is not None else None
        self._pids: tuple[int, ...] = ()
        self._looks = 0
        self.user_us = self.system_us = self.memory_peak = self.tasks_peak = 0

    async def watch(self) -> Exceeded:
        """Return when a limit is passed; else run until cancelled."""
        pause = INTERVAL
        while True:
            await asyncio.sleep(pause)
            started = time.monotonic()
            found = await asyncio.to_thread(self.look)
            if found is not None:
                return found
            pause = max(INTERVAL, 5 * (time.monotonic() - started))

    def look(self) -> Exceeded | None:
        """One look at everything; blocks for as long as it takes."""
        self._sample()
        return self._counted() or self._sampled() or self._check_scratch() or self._check_fork(self._pids)

    def _sample(self) -> None:
        seen = tree.look(self._root, self._beside())
        self._pids, self._looks = seen.pids, self._looks + 1
        self.tasks_peak = max(self.tasks_peak, seen.tasks - self._own.tasks)
        times = self._group.cpu_us() if self._group else None
        user, system = times or (seen.user_us, seen.system_us)
        self.user_us, self.system_us = max(self.user_us, user), max(self.system_us, system)
        if self._group is not None:
            self.memory_peak = self._group.memory_peak()
        else:
            self.memory_peak = max(self.memory_peak, self._memory(seen))

    def _memory(self, seen: tree.Sample) -> int:
        files = self._held_memory(seen.pids)
        unnamed = sum(files.values())
        if seen.private + seen.shared + unnamed - self._own.memory > self._limits.memory_bytes:
            return tree.exact_memory(seen.pids, files)
        return seen.private + max(seen.shared, unnamed)

    def _counted(self) -> Exceeded | None:
        return counted(self._group, self._limits) if self._group else None

    def _sampled(self) -> Exceeded | None:
        limits, used = self._limits, self.user_us + self.system_us
        if used > limits.cpu_us:
            return Exceeded("cpu_us", limits.cpu_us, used)
        if self._group is None and self.memory_peak - self._own.memory > limits.memory_bytes:
            return Exceeded("memory_bytes", limits.memory_bytes, self.memory_peak)
        if self.tasks_peak > limits.processes:
            return Exceeded("processes", limits.processes, self.tasks_peak)
        if (written := self._output()) > limits.output_bytes:
            return Exceeded("output_bytes", limits.output_bytes, written)
        return None

    def check_disk(self) -> Exceeded | None:
        """What the fork and /tmp hold after the step's end, when nobody keeps what was deleted."""
        return self._check_scratch() or self._check_fork(())

    def _check_scratch(self) -> Exceeded | None:
        if self._scratch is None:
            return None
        size, _ = disk.measure(self._scratch, self._limits.written_files)
        return Exceeded("tmp_bytes", self._limits.tmp_bytes, size) if size > self._limits.tmp_bytes else None

    def _check_fork(self, pids: tuple[int, ...]) -> Exceeded | None:
        if self._upper is None:
            return None
        limits = self._limits
        held_size, held_files = self._held
        size, files = disk.measure(self._upper, limits.written_files + held_files)
        size, files = size - held_size, files - held_files
        if files > limits.written_files:
            return Exceeded("written_files", limits.written_files, files)
        size += self._kept(pids, size)
        return Exceeded("written_bytes", limits.written_bytes, size) if size > limits.written_bytes else None

    def _kept(self, pids: tuple[int, ...], seen: int) -> int:
        """Bytes of deleted files that the step keeps, where it is time to look for them."""
        if self._disk is None or not pids:
            return 0
        taken = max(0, self._disk.taken() - seen)
        if taken < _NOTICED and self._looks % _EVERY:
            return 0
        return self._find(pids, self._disk).most(taken)


def counted(group: Group, limits: Limits) -> Exceeded | None:
    """What the cgroup refused or killed for. Also asked once after the step's end."""
    if group.oom_kills():
        return Exceeded("memory_bytes", limits.memory_bytes, max(group.memory_peak(), limits.memory_bytes))
    if group.refused_forks():
        return Exceeded("processes", limits.processes, limits.processes + 1)
    return None
