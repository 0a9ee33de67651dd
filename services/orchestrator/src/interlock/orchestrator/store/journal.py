"""The journal's flusher: appends of many runs become durable together (group commit).

There is no timer: while one flush commits, the next batch gathers. Nobody is told anything before the commit.
When the connection is lost during a flush, the flusher reconnects, reads back what was written, answers that,
and writes the rest again (each append is conditional on its run's seq, so this can never write twice).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import psycopg

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.batch import MAX_BYTES, MAX_EVENTS, check
from interlock.orchestrator.store.engine import Database, sqlstate, unavailable
from interlock.orchestrator.store.errors import Conflict
from interlock.orchestrator.store.link import Link, Verdicts
from interlock.orchestrator.store.pending import Pending, answer, flushed, settle_written
from interlock.orchestrator.store.records import Append, AppendResult, Flushed

_log = logging.getLogger(__name__)
_TRANSIENT: Final = (
    "40001",
    "40P01",
    "55P03",
    "57014",
)  # serialisation, deadlock, lock or statement time-out
_BACKOFF: Final = (0.02, 1.0)
_ATTEMPTS: Final = 10
Subscriber = Callable[[Flushed], None]


class Journal:
    """All writing of run history goes through here. One per process; `start` before use, `close` after.

    Args:
        database: whose pool lends the one connection this keeps.
        max_pending: appends that may wait; further callers wait for room.
        batch: most appends in one transaction.
        patience: seconds without the database after which waiting callers get DATABASE_UNAVAILABLE, and new
            ones at once, until it is back.
    """

    def __init__(
        self, database: Database, *, max_pending: int = 10_000, batch: int = 1_000, patience: float = 10.0
    ) -> None:
        self._link = Link(database)
        self._queue: deque[Pending] = deque()
        self._max_pending = max_pending
        self._batch = batch
        self._patience = patience
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._down = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._subscribers: list[Subscriber] = []
        self.flushes = 0
        self.events = 0

    async def start(self) -> None:
        """Connects (raises DATABASE_UNAVAILABLE) and starts flushing."""
        await self._link.open()
        self._task = asyncio.create_task(self._run(), name="journal-flusher")

    async def close(self) -> None:
        """Writes what is waiting, then ends; what cannot be written within `patience` is answered with an error."""
        self._closing = True
        self._wake.set()
        self._room.set()
        try:
            if self._task:
                await asyncio.wait((self._task,))
        finally:
            if self._task:
                self._task.cancel()  # only a close that is cancelled itself does not wait for the last batch
            self._fail_all("not_written")
            await self._link.close()

    def on_flush(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls it, in the loop and in order, after each commit with the events written; returns how to stop that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    async def append(self, append: Append) -> AppendResult:
        """Returns when it is durable. A caller that is cancelled does not take the append back.

        Raises Conflict, LeaseLost, RUN_NOT_FOUND, REQUEST_ID_REUSED, WORKSPACE_NOT_FOUND, WORKSPACE_BUSY,
        WORKSPACE_HEAD_MOVED (then nothing of it was written), MESSAGE_TOO_LARGE, and DATABASE_UNAVAILABLE,
        whose metadata `outcome` says whether it may have been written (`unknown`) or not (`not_written`).
        """
        (pending,) = await self._enter([append], None)
        return await pending.future

    async def append_all(self, appends: Sequence[Append]) -> list[AppendResult]:
        """Appends of different runs, in one transaction of their own: all of them, or none.

        Raises as `append` for the first that is refused. Those that were not are told Conflict.
        """
        pending = await self._enter(appends, object())
        found = await asyncio.gather(*(each.future for each in pending), return_exceptions=True)
        refused = [each for each in found if isinstance(each, BaseException)]
        if refused:
            raise next((each for each in refused if not isinstance(each, Conflict)), refused[0])
        return [each for each in found if not isinstance(each, BaseException)]

    async def _enter(self, appends: Sequence[Append], group: object) -> list[Pending]:
        sizes = [check(append) for append in appends]
        while len(self._queue) >= self._max_pending and not self._closing:
            self._room.clear()
            await self._room.wait()
        if self._down or self._closing:
            raise unavailable()
        loop = asyncio.get_running_loop()
        entered = [
            Pending(append, size, loop.create_future(), group)
            for append, size in zip(appends, sizes, strict=True)
        ]
        self._queue.extend(entered)
        self._wake.set()
        return entered

    async def _run(self) -> None:
        try:
            await self._write()
        finally:
            await self._link.close()  # it may have reconnected while `close` was cancelled

    async def _write(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # let everyone who is ready in this turn of the loop join
                continue
            try:
                await self._flush(self._take())
            except Exception:  # noqa: BLE001 the flusher must outlive any defect; it is logged and answered
                _log.exception("the flusher met a defect; its batch was answered with INTERNAL")

    def _take(self) -> list[Pending]:
        batch: list[Pending] = []
        events = size = 0
        while self._queue:
            first = self._queue[0]
            events += len(first.append.events)
            size += first.size
            full = len(batch) >= self._batch or events > MAX_EVENTS or size > MAX_BYTES
            if batch and (first.group is not batch[0].group or (full and first.group is None)):
                break
            batch.append(self._queue.popleft())
        self._room.set()
        return batch

    async def _flush(self, batch: Sequence[Pending]) -> None:
        try:
            flush = self._link.flush_all if batch[0].group else self._link.flush
            verdicts = await flush([pending.append for pending in batch])
            await self._settle(batch, verdicts)
        except InterlockError as lost:
            await self._recover(batch, lost)
        except (psycopg.Error, UnicodeError, ValueError, OverflowError) as error:
            await self._isolate(batch, error)
        except BaseException:
            _fail(batch, partial(InterlockError, Reason.INTERNAL, "The change could not be written."))
            raise

    async def _settle(self, batch: Sequence[Pending], verdicts: Verdicts) -> None:
        self.flushes += 1
        written = [n for n in range(len(batch)) if verdicts.codes[n] == 0 and not verdicts.withdrawn]
        wins = [(verdicts.starts[n], batch[n]) for n in written]
        for n, pending in enumerate(batch):
            await answer(pending, n, verdicts, self._link)
        self._publish(wins)

    def _publish(self, wins: list[tuple[int, Pending]]) -> None:
        if not wins:
            return
        news = flushed(wins)
        self.events += len(news.rows)
        for subscriber in tuple(self._subscribers):
            subscriber(news)

    async def _isolate(self, batch: Sequence[Pending], error: Exception) -> None:
        """The database (or the encoding) refused the batch as a whole and wrote nothing: find whose fault it is."""
        transient = sqlstate(error).startswith(_TRANSIENT)
        if len(batch) > 1 and not transient and not batch[0].group:
            for pending in batch:
                await self._flush([pending])
            return
        for pending in batch:
            pending.refused += 1
        again = [pending for pending in batch if transient and pending.refused < 5]
        self._queue.extendleft(reversed(again))
        refused = [pending for pending in batch if pending not in again]
        if refused:
            _log.error("a change was refused: %s", type(error).__name__, extra={"sqlstate": sqlstate(error)})
            defect = partial(InterlockError, Reason.INTERNAL, "The database refused the change.")
            _fail(refused, partial(unavailable, error) if transient else defect)

    async def _recover(self, batch: Sequence[Pending], lost: InterlockError) -> None:
        """Waits for the database, then answers what had been written and queues the rest again."""
        _log.warning("the database is gone; reconnecting", extra={"waiting": len(batch) + len(self._queue)})
        loop = asyncio.get_running_loop()
        deadline, delay = loop.time() + self._patience, _BACKOFF[0]
        while True:
            try:
                await self._link.open()
                written = await self._link.written([p.append for p in batch]) if batch else {}
                break
            except InterlockError as error:
                lost = error
            except psycopg.Error as error:
                lost = unavailable(error)
            if loop.time() > deadline:
                self._down = True
                _fail(batch, partial(unavailable, lost.__cause__, "unknown"))
                batch = ()
                self._fail_all("not_written")
                if self._closing:
                    return
            await asyncio.sleep(delay)
            delay = min(delay * 2, _BACKOFF[1])
        self._down = False
        _log.info("the database is back", extra={"written": len(written), "waiting": len(batch)})
        wins = settle_written(batch, written)
        # Losers may have been told already (the connection broke while a replay was read): those are done.
        again = [p for n, p in enumerate(batch) if n not in written and not p.answered]
        for pending in again:
            pending.refused += 1
        # A server that accepts connections and refuses every flush (a full disk) is as good as gone.
        lost_causes = [p for p in again if p.refused > _ATTEMPTS]
        _fail(lost_causes, partial(unavailable, lost.__cause__))
        self._queue.extendleft(p for p in reversed(again) if not p.answered)
        self._publish(wins)
        if again and not self._closing:
            await asyncio.sleep(min(_BACKOFF[0] * 2 ** again[0].refused, _BACKOFF[1]))

    def _fail_all(self, outcome: str) -> None:
        waiting = list(self._queue)
        self._queue.clear()
        self._room.set()
        _fail(waiting, partial(unavailable, outcome=outcome))


def _fail(batch: Sequence[Pending], error: Callable[[], InterlockError]) -> None:
    # Each caller raises an error of its own: a shared one would gather everybody's traceback.
    for pending in batch:
        if not pending.answered:
            pending.fail(error())
