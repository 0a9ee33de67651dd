"""One fault in a service's process: at the n-th call of a function, before, while or after it is carried out.

    TEST_FAULT = "interlock.orchestrator.store.link:Link.flush|after|3|"

The product has no seam for it: the process that a test starts replaces the function before the service begins
(tests/support/zygote.py). The last part names another process to be killed instead of this one.

| mode | what happens at the n-th call |
|---|---|
| before, after | killed before it begins, or when it has returned and nobody was told |
| sent | killed while it is under way: begun, not returned |
| stop | stopped (SIGSTOP) before it, until the test lets it go on: it wakes late and does not know |
| drop | it is not carried out, and its caller is told that the other side is away |
| lose | it is carried out, and its caller is told that the other side is away |
| twice | it is carried out twice, at the same time |
| late | it is carried out after a second |
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from interlock.common.errors import InterlockError, Reason

Call = Callable[[], Awaitable[Any]]

MARK = "TEST_FAULT_MARK"
"""Names the file that is made when the fault happens."""

_LATE = 1.0


def arm(spec: str) -> None:
    """Replaces the function that `target|mode|n|pid` names."""
    target, mode, nth, victim = spec.split("|")
    if target.startswith("point:"):
        _arm_point(target.removeprefix("point:"), int(nth))
        return
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    fault = Fault(mode, int(nth), int(victim or 0))

    @functools.wraps(original)
    async def faulty(*arguments: Any, **named: Any) -> Any:
        return await fault.pass_by(lambda: original(*arguments, **named))

    setattr(owner, name, faulty)


def _arm_point(name: str, nth: int) -> None:
    """One of the executor's own points (interlock.executor.files.failpoints)."""
    points = importlib.import_module("interlock.executor.files.failpoints")
    left = nth

    def kill(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                strike(signal.SIGKILL, os.getpid())

    points.action = kill


def strike(sign: signal.Signals | None, pid: int) -> None:
    """Leaves a mark that it happened, and sends the signal."""
    Path(os.environ[MARK]).write_text(str(os.getpid()))
    if sign is not None:
        os.kill(pid, sign)


class Fault:
    """Counts calls from when the service is ready; the n-th meets it."""

    def __init__(self, mode: str, nth: int, victim: int) -> None:
        self.mode, self.left, self.victim = mode, nth, victim or os.getpid()
        self._ready = Path(os.environ["INTERLOCK_READY_FILE"])

    async def pass_by(self, call: Call) -> Any:
        if not self._ready.exists():
            return await call()
        self.left -= 1
        return await (getattr(self, f"_{self.mode}")(call) if self.left == 0 else call())

    async def _before(self, call: Call) -> Any:
        strike(signal.SIGKILL, self.victim)
        return await call()

    async def _stop(self, call: Call) -> Any:
        strike(signal.SIGSTOP, self.victim)
        return await call()

    async def _sent(self, call: Call) -> Any:
        task = asyncio.ensure_future(call())
        for _ in range(3):
            await asyncio.sleep(0)
        strike(signal.SIGKILL, self.victim)
        return await task

    async def _after(self, call: Call) -> Any:
        result = await call()
        strike(signal.SIGKILL, self.victim)
        return result

    async def _drop(self, call: Call) -> Any:
        strike(None, 0)
        raise InterlockError(Reason.UNAVAILABLE, "The message was dropped.")

    async def _lose(self, call: Call) -> Any:
        await call()
        strike(None, 0)
        raise InterlockError(Reason.UNAVAILABLE, "The answer was dropped.")

    async def _twice(self, call: Call) -> Any:
        strike(None, 0)
        first, second = await asyncio.gather(call(), call(), return_exceptions=True)
        for result in (second, first):
            if not isinstance(result, BaseException):
                return result
        raise first if isinstance(first, BaseException) else AssertionError

    async def _late(self, call: Call) -> Any:
        strike(None, 0)
        await asyncio.sleep(_LATE)
        return await call()
