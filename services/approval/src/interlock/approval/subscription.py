"""One subscriber's place in the log. It holds nothing, so it can hold up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from interlock.approval.domain.log import Entry, Log

Wants = Callable[[Entry], bool]


class Ended(Enum):
    """Why a subscription gets nothing more."""

    TOO_SLOW = "too slow"
    GAP = "the feed was lost"
    CLOSING = "the service stops"
    STANDING = "what the subscriber may approve has changed"


class Subscription:
    """Changes that match a filter, in feed order, from a place in the log.

    Args:
        log: what is read.
        next_number: number of the first entry to look at.
        seen: position of the last change it has seen. The log may be behind it: a relay or another process told it.
        wants: what the subscriber wants to see.
        saw_snapshot: whether it got the hub's own snapshot, and so must not see entries that repeat it.
        on_cut: called once when it is ended because it was too slow.
    """

    def __init__(
        self,
        log: Log,
        next_number: int,
        seen: int,
        wants: Wants,
        *,
        saw_snapshot: bool,
        on_cut: Callable[[], None],
    ) -> None:
        self._log = log
        self._next = next_number
        self._seen = seen
        self._wants = wants
        self._saw_snapshot = saw_snapshot
        self._on_cut = on_cut
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.ended: Ended | None = None

    def notice(self, since: int, *, wanted: bool) -> bool:
        """The log has grown from number `since` on. False when that has overtaken this subscription: it is ended then.

        Args:
            wanted: whether any of the new entries is for it. One that has seen all before is not woken for others.
        """
        if not wanted and self._next == since:
            self._next = self._log.end
            return True
        self._wake()
        if self._next >= self._log.first:
            return True
        self.end(Ended.TOO_SLOW)
        self._on_cut()
        return False

    def end(self, why: Ended) -> None:
        """Give it nothing more."""
        self.ended = why
        self._wake()

    def close(self) -> None:
        """Nobody takes from it any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def take(self, seconds: float) -> Entry | None:
        """The next entry it wants; None after that many seconds without one, or at once when it has ended."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        while self.ended is None:
            entry = self._scan()
            if entry is not None or loop.time() >= self._deadline:
                return entry
            self._waiter = loop.create_future()
            if self._timer is None:
                self._timer = loop.call_at(self._deadline, self._tick)
            try:
                await self._waiter
            finally:
                self._waiter = None
        return None

    def _tick(self) -> None:
        # One timer, set again when it rings too early: an event then costs none.
        self._timer = None
        loop = asyncio.get_running_loop()
        if loop.time() >= self._deadline:
            self._wake()
        elif self.ended is None:
            self._timer = loop.call_at(self._deadline, self._tick)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _scan(self) -> Entry | None:
        while self.ended is None and self._next < self._log.end:
            entry = self._log[self._next]
            self._next += 1
            if entry.change.position <= self._seen or (entry.repeats and self._saw_snapshot):
                continue
            if self._wants(entry):
                return entry
        return None
