"""The executor's side of a step confined by rules: its supervisor, and what it says."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.remove import remove_path
from interlock.executor.sandbox import orphans
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.launch import (
    Spawned,
    Status,
    descriptors,
    memory_file,
    open_entrances,
    pipe,
    readable,
    watch,
)
from interlock.executor.sandbox.nursery import client as nursery
from interlock.executor.sandbox.nursery.order import Order
from interlock.executor.sandbox.rules.plan import Plan
from interlock.executor.sandbox.verdict import NotStarted

_HANDSHAKE: Final = 20.0
_QUIESCE: Final = 30.0
_FAULTS: Final = {"p": "program", "d": "directory"}


def spawn_supervisor(plan: Plan, name: str, joins: Sequence[Path] = ()) -> Spawned:
    """Start a supervisor. Blocks for about a millisecond; on the event loop's thread.

    Args:
        plan: the step; its descriptors are filled in here.
        name: what `orphans` knows it by.
        joins: entrances of the control group that the command starts in.

    Raises InterlockError(SANDBOX_UNAVAILABLE), OSError.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        gate_read, gate_write = pipe(theirs, ours)
        status_read, status_write = pipe(ours, theirs)
        stdout_read, stdout_write = pipe(ours, theirs)
        stderr_read, stderr_write = pipe(ours, theirs)
        entrances = open_entrances(theirs, joins)
        plan = dataclasses.replace(plan, gate=gate_read, status=status_write, joins=entrances)
        told = memory_file(theirs, "plan", plan.encode())
        order = Order(parent=os.getpid(), argv=(name,), supervise=told)
        kept = (gate_read, status_write, told, *entrances)
        pid, own = nursery.start(order, descriptors(stdout_write, stderr_write, kept))
        ours.pop_all()
        return Spawned(pid, own, status_read, gate_write, stdout_read, stderr_read)


class RulesTree:
    """See `running.Tree`. The root is the supervisor; the waiting process becomes the command."""

    def __init__(self, spawned: Spawned, scratch: Path) -> None:
        self._spawned = spawned
        self._supervisor = watch(spawned)
        self._status = Status(spawned.status)
        self.root, self.waiting, self.beside = spawned.pid, 0, 0
        self.user_us = self.system_us = self.max_rss = 0
        self.signal: int | None = None
        self.scratch: Path | None = scratch

    async def meet(self, identity: Identity) -> bool:
        async with asyncio.timeout(_HANDSHAKE):
            child = await asyncio.shield(self._status.child)
        if not child:
            return False
        self.waiting = int(child["child-pid"])
        try:
            facts = _status_of(self.waiting)
        except OSError:
            return False  # already gone: its end is reported like any other
        uids, gids = facts["Uid"].split(), facts["Gid"].split()
        alone = {*uids, *gids} == {str(identity.uid), str(identity.gid)} and "0" not in (*uids, *gids)
        bound = facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2" and not int(facts["CapPrm"], 16)
        if not alone or not bound:
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE, "The sandbox's process is not the one that was asked for."
            )
        return True

    def release(self) -> None:
        self._order(b"x")

    def kill(self) -> None:
        self._order(b"k")

    def _order(self, order: bytes) -> None:
        with suppress(BrokenPipeError):
            os.write(self._spawned.gate_write, order)

    async def ended(self) -> None:
        # The supervisor ends after everything that it is above of.
        await readable(self._supervisor)

    async def quiesce(self) -> None:
        try:
            async with asyncio.timeout(_QUIESCE):
                await self.ended()
        except TimeoutError:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._supervisor, signal.SIGKILL)
            raise InterlockError(
                Reason.SANDBOX_UNAVAILABLE,
                f"A step's processes did not end within {_QUIESCE:.0f} s of being killed.",
                fix="Look for processes in uninterruptible sleep (state D) and for a hanging file system.",
            ) from None

    def reap(self) -> int | None:
        self._status.drain()
        facts = self._status.facts
        with suppress(ChildProcessError):
            os.waitpid(self._spawned.pid, 0)
        if "max-rss" not in facts and self.waiting:
            # It was killed itself: what was below it is now below this process.
            orphans.end_adopted()
            self.signal = signal.SIGKILL
            return 128 + signal.SIGKILL
        self.user_us, self.system_us = facts.get("user-us", 0), facts.get("system-us", 0)
        self.max_rss, self.signal = facts.get("max-rss", 0), facts.get("signal")
        return self._status.exit_code

    def not_started(self, said: str) -> NotStarted:
        facts = self._status.facts
        if "failed" not in facts:
            return NotStarted("sandbox", said)
        what = _FAULTS.get(facts["failed"], "sandbox")
        detail = str(facts["error"])
        if what == "program":
            return NotStarted("program", detail)
        return NotStarted("directory" if what == "directory" else "sandbox", detail)

    def close(self) -> None:
        self._status.close()
        for fd in (self._supervisor, self._spawned.gate_write):
            os.close(fd)
        if self.scratch is not None:
            # Not waited for: it can be large, and nothing of the step is alive.
            asyncio.get_running_loop().run_in_executor(None, _discard, self.scratch)


def _discard(directory: Path) -> None:
    with suppress(OSError):
        remove_path(directory)


def _status_of(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
