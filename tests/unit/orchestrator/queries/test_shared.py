"""Events that many followers want at once are put together once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.queries.shared import Event, SharedEvents
from interlock.v1 import decision_pb2


class Maker:
    """Makes events when it is let, and counts."""

    def __init__(self) -> None:
        self.made = 0
        self.go = asyncio.Event()
        self.error: InterlockError | None = None
        self.diff = ""

    def __call__(self, position: int) -> Callable[[], Coroutine[Any, Any, Event]]:
        async def make() -> Event:
            self.made += 1
            await self.go.wait()
            if self.error is not None:
                raise self.error
            event = decision_pb2.ApprovalEvent(position=position)
            event.approval.preview.diff = self.diff
            return event

        return make


async def test_once_for_all_and_for_whoever_comes_later() -> None:
    maker, shared = Maker(), SharedEvents()
    waiting = [asyncio.create_task(shared.get(7, maker(7))) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    maker.go.set()
    found = await asyncio.gather(*waiting[1:])
    assert {event.position for event in found if event} == {7}
    assert await shared.get(7, maker(7)) is found[0]
    assert maker.made == 1


async def test_a_failure_is_everyones_and_not_kept() -> None:
    maker, shared = Maker(), SharedEvents()
    maker.error = InterlockError(Reason.DATABASE_UNAVAILABLE, "Away.")
    maker.go.set()
    for _ in range(2):
        with pytest.raises(InterlockError):
            await shared.get(1, maker(1))
    assert (maker.made, len(shared)) == (2, 0)


async def test_it_is_bounded_by_count_and_size() -> None:
    maker, shared = Maker(), SharedEvents(most=3)
    maker.go.set()
    for position in range(10):
        await shared.get(position, maker(position))
    assert len(shared) == 3
    maker.diff = "x" * 100_000
    await shared.get(99, maker(99))
    await asyncio.sleep(0)
    assert len(shared) == 2
