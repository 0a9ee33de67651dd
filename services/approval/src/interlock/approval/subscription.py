"""One subscriber's place in the log. It holds nothing, so it can hold up nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from interlock.approval.domain.changes import Filter
from interlock.approval.domain.log import Entry, Log


class Ended(Enum):
    """Why a subscription gets nothing more."""

    TOO_SLOW = "too slow"
    GAP = "the feed was lost"
    CLOSING = "the service stops"


class Subscription:
    """Changes that match a filter, in feed order, from a place in the log.

    Args:
        log: what is read.
        next_number: number of the first entry to look at.
        chosen: what the subscriber wants.
        saw_snapshot: whether it got the hub's own snapshot, and so must not see entries that repeat it.
        on_cut: called once when it is ended because it was too slow.
    """

    def __init__(
        self, log: Log, next_number: int, chosen: Filter, *, saw_snapshot: bool, on_cut: Callable[[], None]
    ) -> None:
        self._log = log
        self._next = next_number
        self._chosen = chosen
        self._saw_snapshot = saw_snapshot
        self._on_cut = on_cut
        self._wake = asyncio.Event()
        self.ended: Ended | None = None

    def notice(self) -> bool:
        """The log has grown. False when that has overtaken this subscription: it is ended then."""
        self._wake.set()
        if self._next >= self._log.first:
            return True
        self.end(Ended.TOO_SLOW)
        self._on_cut()
        return False

    def end(self, why: Ended) -> None:
        """Give it nothing more."""
        self.ended = why
        self._wake.set()

    async def take(self, seconds: float) -> Entry | None:
        """The next entry it wants; None after that many seconds without one, or at once when it has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.ended is None:
            entry = self._scan()
            if entry is not None:
                return entry
            self._wake.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            except TimeoutError:
                return self._scan()
        return None

    def _scan(self) -> Entry | None:
        while self.ended is None and self._next < self._log.end:
            entry = self._log[self._next]
            self._next += 1
            if not (entry.repeats and self._saw_snapshot) and self._chosen.matches(entry.change.item):
                return entry
        return None
