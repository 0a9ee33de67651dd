from __future__ import annotations

import asyncio

import pytest

from interlock.common.tasks import stop


async def test_a_stopped_task_has_ended() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await stop(task)
    assert task.cancelled()
    assert cleaned == ["up"]
    await stop(task)
    await stop(None)


async def test_what_it_failed_with_is_raised() -> None:
    async def work() -> None:
        raise ValueError("why")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="why"):
        await stop(task)


async def test_cancelling_whoever_stops_is_not_mistaken_for_the_end() -> None:
    may_end = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(stop(task))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert not task.done()
    may_end.set()
    await asyncio.wait((task,))
    assert task.cancelled()
