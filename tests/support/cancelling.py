"""Cancels a piece of work at each place where it, or a task that it started, gives way to the event loop."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

Work = Callable[[], Coroutine[Any, Any, object]]


@types.coroutine
def _watched(work: Coroutine[Any, Any, Any], gave_way: Callable[[], None]) -> Generator[Any, Any, Any]:
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            waits_for = work.throw(error) if error is not None else work.send(value)
        except StopIteration as end:
            return end.value
        gave_way()
        value = error = None
        try:
            value = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as raised:  # noqa: BLE001 (thrown on into the work)
            error = raised


async def interrupted(work: Work, *places: int, interrupt: Callable[[], object] | None = None) -> int:
    """Runs the work and cancels it the moment it gives way for the n-th time, for each n of `places` (from 1).

    Args:
        interrupt: called instead of cancelling.

    Returns how often the work gave way in all. Raises what the work failed with, unless it was cancelled.
    """
    loop = asyncio.get_running_loop()
    count = 0

    def gave_way() -> None:
        nonlocal count
        count += 1
        if count in places:
            loop.call_soon(interrupt or main.cancel)

    async def watch(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await _watched(coroutine, gave_way)

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(watch(coroutine), loop=loop, **options)
        task.add_done_callback(lambda _: coroutine.close())  # it was cancelled before its first step
        return task

    loop.set_task_factory(make)
    try:
        main = loop.create_task(work())
        await asyncio.wait((main,))
    finally:
        loop.set_task_factory(None)
    if not main.cancelled() and (error := main.exception()) is not None:
        raise error
    return count
