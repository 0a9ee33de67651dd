"""Per-process limits (rlimits), set from outside on the runner's child while it waits.

prlimit(2) on the blocked child replaces `preexec_fn`, which runs Python between fork and exec and deadlocks with
gRPC's threads. Limits are inherited by everything the child starts, and cannot be raised again by it.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import resource
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from interlock.executor.sandbox import memfds, unlinked
from interlock.executor.sandbox.base import Limits
from interlock.executor.sandbox.identity import Identity, has_capability

VICTIM: Final = 1000
"""A step's oom_score_adj: when the machine itself runs out of memory, a step goes before the executor."""
_SLACK: Final = 64
_UNSEEN: Final = 1 << 30
"""Bytes that a process fills, at a few GiB a second, while nobody looks."""
_CAP_SYS_PTRACE, _CAP_SYS_RESOURCE = 19, 24
# setgroups, setresgid, setresuid
_CALLS: Final = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}


def rlimits(limits: Limits, *, counted: bool, others: int | None = 0) -> dict[int, int]:
    """Limit by resource number.

    Args:
        limits: what the step may use.
        counted: a cgroup counts memory and processes of the whole tree.
        others: how many processes that are not the step's the kernel counts together with it; None: do not limit
            the number of processes.
    """
    values = {
        # Not 0: only 1 also keeps the kernel from handing memory to a program that collects dumps (core(5)).
        resource.RLIMIT_CORE: 1,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        # Above the limit: at it the kernel could end a process whose time, as counted later, is just below.
        resource.RLIMIT_CPU: -(-limits.cpu_us // 1_000_000) + 1,
        resource.RLIMIT_MEMLOCK: 8 << 20,
        resource.RLIMIT_MSGQUEUE: 819_200,
        resource.RLIMIT_RTPRIO: 0,
    }
    if others is not None:
        # A backstop above the limit: the cgroup or the watchdog sees the limit passed, and ends the step.
        values[resource.RLIMIT_NPROC] = limits.processes + others + _SLACK
    if not counted:
        # A backstop for private writable memory of one process, so far above the limit that the watchdog sees the
        # limit passed and names it, before an allocation fails and the program ends by itself with any code.
        # RLIMIT_AS would break node, Go and Java.
        values[resource.RLIMIT_DATA] = 2 * limits.memory_bytes + _UNSEEN
    return values


def tasks_of(uid: int) -> int:
    """Processes and threads on this machine that run as `uid`."""
    found = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                found += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return found


def apply_rlimits(pid: int, limits: Limits, *, counted: bool, others: int | None = 0) -> None:
    """Set them on `pid`. A value above the executor's own hard limit becomes that. Raises OSError."""
    for number, value in rlimits(limits, counted=counted, others=others).items():
        _, hard = resource.prlimit(pid, number)
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.prlimit(pid, number, (capped, capped))


def prefer_as_victim(pid: int) -> None:
    """See `VICTIM`."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write(str(VICTIM))
    except OSError:
        return


class Limiter:
    """Sets limits on processes of the step's uid, and looks into them.

    prlimit(2) on another user's process needs CAP_SYS_RESOURCE, and /proc/PID/fd CAP_SYS_PTRACE, which root in a
    container usually lacks; with one's own processes both may be done always. Credentials belong to threads, so for
    that case one thread of this process becomes the step's uid for good, by raw system calls (libc's setresuid would
    change every thread), and makes the calls.
    """

    def __init__(self, identity: Identity) -> None:
        self._thread = None
        self._may_limit, self._may_look = (
            not identity.switch or has_capability(number) for number in (_CAP_SYS_RESOURCE, _CAP_SYS_PTRACE)
        )
        if not (self._may_limit and self._may_look):
            self._thread = ThreadPoolExecutor(1, "interlock-limiter", _become, (identity.uid, identity.gid))

    async def apply(self, pid: int, limits: Limits, *, counted: bool, others: int | None = 0) -> None:
        """See `apply_rlimits`."""
        call = functools.partial(apply_rlimits, pid, limits, counted=counted, others=others)
        if self._thread is None or self._may_limit:
            call()
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def deleted(self, pids: Iterable[int], disk: unlinked.Disk) -> unlinked.Found:
        """See `unlinked.look`. Blocks; not on the event loop's thread."""
        if self._thread is None or self._may_look:
            return unlinked.look(pids, disk)
        return self._thread.submit(unlinked.look, pids, disk).result()

    def held_memory(self, pids: Iterable[int]) -> dict[int, int]:
        """See `memfds.held`. Blocks; not on the event loop's thread."""
        if self._thread is None or self._may_look:
            return memfds.held(pids)
        return self._thread.submit(memfds.held, pids).result()


def _become(uid: int, gid: int) -> None:
    setgroups, setresgid, setresuid = _CALLS[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((setgroups, 0, None), (setresgid, gid, gid, gid), (setresuid, uid, uid, uid)):
        if libc.syscall(*call) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
