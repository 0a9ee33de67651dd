"""The feed in this process: a window of the newest events, and tails that follow it without gap or duplicate.

Events flushed here enter the window directly; those of other replicas are read once per process, when a hint
says that there are some. A tail that is within the window costs no query; one that is behind reads the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.listener import Listener
from interlock.orchestrator.store.readers import events
from interlock.orchestrator.store.records import FeedRow, Flushed

_log = logging.getLogger(__name__)
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a follower may go on from: at most so long ago, and at most so many events of all runs."""

    age: timedelta = timedelta(days=7)
    events: int = 1_000_000


class Feed:
    """Start it after the journal and subscribe `on_flush` to it: `journal.on_flush(feed.on_flush)`.

    Args:
        window: events kept in memory (their canonical bytes are shared with whoever else holds them).
        poll: seconds between looks at the database when no notification comes.
    """

    def __init__(self, database: Database, *, window: int = 8192, poll: float = 1.0) -> None:
        self.database = database
        self._window = window
        self._rows: list[FeedRow] = []
        self._behind = asyncio.Event()
        self._wakes: set[asyncio.Event] = set()
        self._runs: dict[str, set[RunTail]] = {}
        self._listener = Listener(database, self._hint, poll=poll)
        self._task: asyncio.Task[None] | None = None
        self.position = 0

    async def start(self) -> None:
        """Reads the present position, then follows. Raises DATABASE_UNAVAILABLE."""
        self.position = max(self.position, await events.position(self.database))
        self._task = asyncio.create_task(self._follow(), name="feed-reader")
        await self._listener.start()

    async def close(self) -> None:
        try:
            await self._listener.close()
        finally:
            await stop(self._task)

    def on_flush(self, news: Flushed) -> None:
        """Takes in events that this process has written."""
        if news.first == self.position + 1:
            self._enter(news.rows)
        elif news.last > self.position:
            self._behind.set()  # another replica's events come first

    async def tail(self, after: int, *, idle: float = 15.0) -> AsyncGenerator[Sequence[FeedRow], None]:
        """All events with a position above `after`, for ever, in order, in batches of at most 1,000.

        After `idle` seconds without any it yields an empty batch: time for a heartbeat. Ends only when it is
        closed or cancelled, or with DATABASE_UNAVAILABLE; resume with the last position received.
        """
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            while True:
                wake.clear()
                rows = await self._after(after)
                if rows:
                    after = rows[-1].position
                elif await _within(wake, idle):
                    continue
                yield rows
        finally:
            self._wakes.discard(wake)

    async def reaches(self, position: int, reach: Reach, now: datetime) -> bool:
        """Whether everything after a position is still kept for followers: the journal itself keeps it for ever."""
        if position >= self.position:
            return True
        if self.position - position > reach.events:
            return False
        missed = await events.time_of(self.database, position + 1)
        return missed is None or missed >= now - reach.age

    def run_tail(self, run_id: str, after_seq: int, *, idle: float = 15.0) -> RunTail:
        """The same for one run, by seq."""
        return RunTail(self, run_id, after_seq, idle)

    def _hint(self, position: int | None) -> None:
        if position is None or position > self.position:
            self._behind.set()

    async def _follow(self) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                while rows := await events.of_feed(self.database, self.position, _PAGE):
                    # Own flushes may have arrived while the query ran.
                    self._enter([row for row in rows if row.position > self.position])
                    if len(rows) < _PAGE:
                        break  # what was written since then is told of by its own hint
            except InterlockError as error:
                _log.warning("the feed cannot be read; the listener hints again", extra={"error": str(error)})

    def _enter(self, rows: Sequence[FeedRow]) -> None:
        if not rows:
            return
        self.position = rows[-1].position
        self._rows.extend(rows)
        if len(self._rows) > 2 * self._window:
            del self._rows[: -self._window]
        if self._runs:
            for row in rows:
                for run_tail in self._runs.get(row.run_id, ()):
                    run_tail.offer(row)
        for wake in self._wakes:
            wake.set()

    async def _after(self, after: int) -> Sequence[FeedRow]:
        if after >= self.position:
            return ()
        if self._rows and after + 1 >= self._rows[0].position:
            start = after + 1 - self._rows[0].position
            return self._rows[start : start + _PAGE]
        return await events.of_feed(self.database, after, _PAGE)

    def join(self, run_tail: RunTail) -> None:
        """Called by a tail that wants its run's events."""
        self._runs.setdefault(run_tail.run_id, set()).add(run_tail)

    def leave(self, run_tail: RunTail) -> None:
        """Called by a tail that ends."""
        tails = self._runs.get(run_tail.run_id, set())
        tails.discard(run_tail)
        if not tails:
            self._runs.pop(run_tail.run_id, None)


class RunTail:
    """Follows one run: an asynchronous iterator of batches, empty ones after `idle` seconds of silence."""

    def __init__(self, feed: Feed, run_id: str, after_seq: int, idle: float) -> None:
        self.run_id = run_id
        self._feed = feed
        self._after = after_seq
        self._idle = idle
        self._wake = asyncio.Event()
        self._offered: list[FeedRow] = []
        self._look = True  # there may be events in the journal that were not offered

    def offer(self, row: FeedRow) -> None:
        """Called by the feed. What does not fit is read from the journal later."""
        if len(self._offered) < _PAGE:
            self._offered.append(row)
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[FeedRow]]:
        self._feed.join(self)
        try:
            while True:
                self._wake.clear()
                rows = self._take() or await self._read()
                if rows:
                    self._after = rows[-1].seq
                elif await _within(self._wake, self._idle):
                    continue
                yield rows
        finally:
            self._feed.leave(self)

    def _take(self) -> Sequence[FeedRow]:
        """What was offered, if it goes on exactly where the last batch ended."""
        offered, self._offered = self._offered, []
        rows = [row for row in offered if row.seq > self._after]
        gap = bool(rows) and rows[0].seq != self._after + 1
        if gap or len(offered) >= _PAGE:
            self._look = True
        return () if gap else rows

    async def _read(self) -> Sequence[FeedRow]:
        if not self._look:
            return ()
        rows = await events.of_run(self._feed.database, self.run_id, self._after, _PAGE)
        self._look = len(rows) >= _PAGE
        return rows


async def _within(wake: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    return True
