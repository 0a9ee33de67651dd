from __future__ import annotations

import asyncio

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.inflight import InFlight
from interlock.executor.effects.store import Record
from interlock.executor.effects.turns import WorkspaceTurns

KEY = EffectKey("run-1", 1, 1)
DONE = Record(KEY, "ws-1", "f", EffectState.PREPARED)


async def test_same_work_is_done_once() -> None:
    jobs, go, count = InFlight(), asyncio.Event(), []

    async def work(_: asyncio.Event) -> Record:
        count.append(1)
        await go.wait()
        return DONE

    calls = [asyncio.create_task(jobs.join(KEY, "prepare", "f", work)) for _ in range(5)]
    await asyncio.sleep(0)
    calls[0].cancel()
    go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [DONE] * 4
    assert count == [1]
    assert jobs.owner(KEY) is None


async def test_other_work_of_the_same_kind_is_refused_and_of_another_kind_waits() -> None:
    jobs, go, order = InFlight(), asyncio.Event(), []

    async def first(_: asyncio.Event) -> Record:
        await go.wait()
        order.append("first")
        return DONE

    async def second(_: asyncio.Event) -> Record:
        order.append("second")
        return DONE

    one = asyncio.create_task(jobs.join(KEY, "prepare", "f", first))
    await asyncio.sleep(0)
    with pytest.raises(InterlockError) as caught:
        await jobs.join(KEY, "prepare", "g", second)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    two = asyncio.create_task(jobs.join(KEY, "discard", "", second))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(one, two)
    assert order == ["first", "second"]


async def test_settling_asks_to_stop() -> None:
    jobs = InFlight()

    async def work(cancel: asyncio.Event) -> Record:
        await cancel.wait()
        raise InterlockError(Reason.EFFECT_DISCARDED, "stopped")

    call = asyncio.create_task(jobs.join(KEY, "prepare", "f", work))
    await asyncio.sleep(0)
    await jobs.settle(KEY, cancel=True)
    with pytest.raises(InterlockError):
        await call
    await jobs.settle(KEY)


async def test_closing_ends_everything_and_takes_nothing_more() -> None:
    jobs, begun, ended = InFlight(), asyncio.Event(), asyncio.Event()

    async def work(_: asyncio.Event) -> Record:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return DONE

    call = asyncio.create_task(jobs.join(KEY, "prepare", "f", work))
    await begun.wait()
    await jobs.close()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(InterlockError) as caught:
        await jobs.join(KEY, "prepare", "f", work)
    assert caught.value.reason is Reason.UNAVAILABLE


async def _all_wait() -> None:
    """Every task has come as far as it can: none of them waits for anything outside the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_publications_go_alone_and_first() -> None:
    turns, order = WorkspaceTurns(30), []
    release = asyncio.Event()

    async def fork(name: str) -> None:
        async with turns.fork("ws-1"):
            order.append(name)
            await release.wait()

    async def publish() -> None:
        async with turns.publish("ws-1"):
            order.append("publish")
            await asyncio.sleep(0)
            order.append("published")

    tasks = [asyncio.create_task(fork("a")), asyncio.create_task(fork("b"))]
    await _all_wait()
    tasks.append(asyncio.create_task(publish()))
    await _all_wait()
    tasks.append(asyncio.create_task(fork("c")))
    async with turns.fork("ws-2"):
        order.append("other workspace")
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "other workspace", "publish", "published", "c"]


async def test_a_publication_gives_up_and_forks_go_on() -> None:
    turns = WorkspaceTurns(0.01)
    async with turns.fork("ws-1"):
        with pytest.raises(InterlockError) as caught:
            async with turns.publish("ws-1"):
                raise AssertionError
        assert caught.value.reason is Reason.WORKSPACE_BUSY
        async with turns.fork("ws-1"):
            pass
    async with turns.publish("ws-1"):
        pass
