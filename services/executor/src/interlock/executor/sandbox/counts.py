"""Bounding what a step can use up of what the kernel counts for the uid of steps."""

from __future__ import annotations

import os
from contextlib import ExitStack

from interlock.executor.sandbox.base import Check
from interlock.executor.sandbox.launch import readable
from interlock.executor.sandbox.nursery import client as nursery
from interlock.executor.sandbox.nursery.counts import INSTANCES
from interlock.executor.sandbox.nursery.order import Order


async def bound(pid: int) -> bool:
    """Bound the user namespace of a process that waits at its gate. False where that cannot be done.

    Raises InterlockError(SANDBOX_UNAVAILABLE) when no process can be started, OSError when it is gone.
    """
    with ExitStack() as stack:
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, namespace)
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        stack.callback(os.close, null)
        order = Order(parent=os.getpid(), argv=("bound",), bound=namespace)
        helper, _ = nursery.start(order, {2: null, namespace: namespace})
        stack.callback(os.close, end := os.pidfd_open(helper))
        try:
            await readable(end)
        finally:
            done = _collect(helper)
    return done == 0


def _collect(pid: int) -> int:
    """Wait for it, for the moment that its work takes if it goes on; its status."""
    return os.waitpid(pid, 0)[1]


def check(bounded: bool | None) -> Check:
    """The self-test's finding."""
    if bounded:
        return Check("inotify", True, f"a step has at most {INSTANCES} instances", required=False)
    return Check(
        "inotify",
        False,
        "a step can use up the instances of inotify that the uid of steps has",
        "Let the executor write /proc/sys/user (in a container it is read-only), or raise "
        "fs.inotify.max_user_instances.",
        required=False,
    )
