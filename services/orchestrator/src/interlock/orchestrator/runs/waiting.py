"""Waiting for something to happen to a run, without polling."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from interlock.orchestrator.domain.evolve import Recorded, evolve
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.runs.book import RunBook, recorded
from interlock.orchestrator.store.feed import Feed
from interlock.orchestrator.store.records import FeedRow


async def run_batches(
    feed: Feed, run_id: str, after_seq: int, idle: float = 15.0
) -> AsyncGenerator[Sequence[FeedRow], None]:
    """A run's events after `after_seq` as they become durable, in batches; close it when done."""
    async for rows in feed.run_tail(run_id, after_seq, idle=idle):
        yield rows


async def wait_until(
    feed: Feed, book: RunBook, run: Run, reached: Callable[[Run], bool]
) -> tuple[Run, Sequence[Recorded]]:
    """The first state from `run` on that `reached` accepts, and the events that led there. Waits for ever."""
    seen: list[Recorded] = []
    if reached(run):
        return run, seen
    async with aclosing(run_batches(feed, run.run_id, run.seq)) as tail:
        async for rows in tail:
            for row in rows:
                record = recorded(row)
                run = evolve(run, record)
                seen.append(record)
                if reached(run):
                    book.put(run)
                    return run, seen
    raise AssertionError("a tail ends only by cancellation")
