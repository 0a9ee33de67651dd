"""All runs that this process drives: claims those nobody drives, keeps the leases, wakes the drivers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing

from interlock.common import logs
from interlock.common.errors import InterlockError
from interlock.common.tasks import stop
from interlock.orchestrator.runs.book import ERASED, RunBook
from interlock.orchestrator.runs.transaction import Transactions
from interlock.orchestrator.store import leases
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.feed import Feed
from interlock.orchestrator.store.presence import Presence
from interlock.orchestrator.store.records import FeedRow, Flushed
from interlock.orchestrator.worker.defects import Defects
from interlock.orchestrator.worker.line import Line
from interlock.orchestrator.worker.performer import Performer
from interlock.orchestrator.worker.run_driver import RunDriver

_log = logs.get("drivers")
_CLAIM = 1000
"""At most so many at once: those who have been claimed compete with the next claim for connections."""
_SHARING = 0.5
"""Seconds between two claims of a share, while there may be more."""


class Drivers:
    """The set of runs under this process's lease.

    Args:
        owner: unique per process and start.
        erased: called with a run and digests of payloads of it that are to be kept in memory no longer.
        ttl: seconds after which another orchestrator may take over if this one falls silent.
    """

    def __init__(
        self,
        database: Database,
        book: RunBook,
        erased: Callable[[str, Sequence[str]], None] = lambda run_id, digests: None,
        *,
        owner: str,
        ttl: float = 6.0,
    ) -> None:
        self._database = database
        self._book = book
        self._erased = erased
        self._owner = owner
        self._ttl = ttl
        self._drivers: dict[str, tuple[RunDriver, asyncio.Task[None]]] = {}
        self._transactions: Transactions | None = None
        self._performer: Performer | None = None
        self.line = Line(database)
        self._defects = Defects()
        self._look = asyncio.Event()
        self._presence = Presence(database, owner, self._look.set)
        self._given_back: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, feed: Feed, transactions: Transactions, performer: Performer) -> None:
        """Starts the heartbeat, which also claims runs that nobody drives, and listens to other replicas.

        `close` ends what it began, also when it was cancelled or raised.
        """
        self._transactions = transactions
        self._performer = performer
        await self._presence.start()
        # Before the first lease is taken: an owner without a heartbeat counts as dead.
        await leases.renew(self._database, self._owner, self._ttl, self._presence.server)
        self._tasks = [
            asyncio.create_task(self._beat(), name="drivers-heartbeat"),
            asyncio.create_task(self._listen(feed), name="drivers-feed"),
        ]

    async def close(self) -> None:
        """Stops driving and gives every lease back. What is under way is found again by the next driver."""
        try:
            for task in self._tasks:
                await stop(task)
            for _, task in list(self._drivers.values()):
                await stop(task)
            await self.line.close()
            with contextlib.suppress(InterlockError):
                await leases.retire(self._database, self._owner)
        finally:
            await self._presence.close()

    @property
    def alone(self) -> bool:
        """Whether no other orchestrator lives, as far as is known."""
        return self._presence.alone

    def own(self, run_id: str, epoch: int, *, behind: bool = False) -> None:
        """This process has the run's lease: drive it. `behind`: others may have changed it since."""
        known = self._drivers.get(run_id)
        if known is not None and known[0].epoch >= epoch and not known[1].done():
            known[0].wake()
            return
        if self._transactions is None or self._performer is None:
            return
        if known is not None:
            known[1].cancel()
        parts = (self._book, self._transactions, self._performer, self._defects)
        driver = RunDriver(run_id, epoch, *parts, behind=behind)
        task = asyncio.create_task(driver.drive(), name=f"drive {run_id}")
        self._drivers[run_id] = (driver, task)
        task.add_done_callback(lambda done: self._ended(run_id, driver, done))

    def on_flush(self, news: Flushed) -> None:
        """Wakes the drivers of runs that have changed."""
        for run_id in {row.run_id for row in news.rows}:
            self._wake(run_id)

    def _wake(self, run_id: str) -> None:
        if (known := self._drivers.get(run_id)) is not None:
            known[0].wake()

    async def _listen(self, feed: Feed) -> None:
        """What another replica wrote about a run that this one drives."""
        while True:
            try:
                async with aclosing(feed.tail(feed.position)) as tail:
                    async for rows in tail:
                        self.line.hear(rows)
                        self._forget(rows)
                        # What this process wrote is in the book already.
                        newest = {row.run_id: row.seq for row in rows}
                        for run_id in newest.keys() & self._drivers.keys():
                            if self._book.seq(run_id) < newest[run_id]:
                                await self._catch_up(run_id)
            except InterlockError as error:
                _log.warning("not listening to the feed", reason=error.reason.value)
                await asyncio.sleep(1.0)

    async def _catch_up(self, run_id: str) -> None:
        try:
            await self._book.refresh(run_id)
        except InterlockError:
            raise
        except Exception as error:  # noqa: BLE001 - one journal that cannot be read must not deafen the others
            _log.error("cannot be read", run_id=run_id, error=type(error).__name__)
        self._wake(run_id)

    def _forget(self, rows: Sequence[FeedRow]) -> None:
        """What was erased, here or by another replica, is not kept in memory either."""
        for row in rows:
            if row.type == ERASED:
                self._book.forget(row.run_id)
                self._erased(row.run_id, json.loads(row.canonical)["data"]["erased"])

    def _ended(self, run_id: str, driver: RunDriver, task: asyncio.Task[None]) -> None:
        known = self._drivers.get(run_id)
        if known is not None and known[0] is driver:
            del self._drivers[run_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a driver met a defect", run_id=run_id, error=type(error).__name__)
        if driver.stale:
            self._given_back.add(run_id)
        if driver.lost:
            self._look.set()  # it may still be ours to drive

    async def _beat(self) -> None:
        while True:
            self._look.clear()
            claimed = 0
            try:
                claimed = await self._renew_and_claim()
            except InterlockError as error:
                _log.warning("no heartbeat", reason=error.reason.value)
            if claimed == _CLAIM:
                continue  # there are more for it, whatever the others' shares are
            # After a share there may be more, when the others had time to take theirs.
            pause = min(_SHARING, self._ttl / 3) if claimed >= leases.LEAST else self._ttl / 3
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look.wait()

    async def _renew_and_claim(self) -> int:
        """How many it has claimed."""
        given_back, self._given_back = self._given_back, set()
        if given_back:
            await leases.release(self._database, self._owner, sorted(given_back))
        held = await leases.renew(self._database, self._owner, self._ttl, self._presence.server)
        for run_id, (driver, task) in list(self._drivers.items()):
            if held.get(run_id, driver.epoch) != driver.epoch:
                task.cancel()
        for run_id, epoch in held.items():
            if run_id not in self._drivers:
                self.own(run_id, epoch, behind=True)
        claimed = await leases.claim(self._database, self._owner, self._ttl, _CLAIM)
        for each in claimed:
            self.own(each.run_id, each.epoch, behind=True)
        return len(claimed)
