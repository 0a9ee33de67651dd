"""The fan-out: one feed in, any number of subscribers out, none of which can hold up another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.approval.audience import Audience
from interlock.approval.domain.changes import Batch, Change, Filter, Item, Kind, Place
from interlock.approval.domain.cursor import Cursor
from interlock.approval.domain.log import Entry, Log
from interlock.approval.domain.view import View
from interlock.approval.subscription import Ended, Subscription
from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import Ids

_log = logs.get("hub")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the hub may hold. Bytes are of encoded messages."""

    log_entries: int = 10_000
    log_bytes: int = 64 * 1024 * 1024
    pending: int = 50_000
    preview_bytes: int = 64 * 1024 * 1024
    subscribers: int = 10_000


@dataclass(frozen=True, slots=True)
class Begun:
    """A subscription, the cursor its snapshot is taken at, and what of that snapshot is still to be sent."""

    subscription: Subscription
    start: Cursor
    snapshot: list[Change]


class Hub:
    """The view and the recent log of the feed, and who listens to it. Used from one event loop."""

    def __init__(self, ids: Ids, limits: Limits | None = None) -> None:
        self._ids = ids
        self._limits = limits or Limits()
        self._audience = Audience()
        self._ready = asyncio.Event()
        self._closing = False
        self.anchor: Any = None
        self.restart()

    def restart(self) -> None:
        """Forget everything: the feed begins anew with a snapshot. Whoever listens has a gap and is ended."""
        limits = self._limits
        self._generation = self._ids.new("view")[-12:]
        self._view = View(limits.pending, limits.preview_bytes)
        self._log: Log | None = None
        self._upstream = ""
        self._position = 0
        self._ready.clear()
        self._audience.end_all(Ended.GAP)

    @property
    def upstream(self) -> str:
        """The orchestrator's cursor to continue the feed from; empty before the first snapshot is whole."""
        return self._upstream if self._log is not None else ""

    @property
    def head(self) -> Cursor:
        """Where someone stands who has seen everything."""
        return Cursor(self._upstream, self._position, self._generation)

    def item(self, approval_id: str) -> Item | None:
        """What is known of an open approval; None when it is not open or the feed has not told of it yet."""
        return self._view.item(approval_id)

    def apply(self, batch: Batch) -> None:
        """Take one message of the feed in, and pass its changes on."""
        if self._log is None:
            self._apply_snapshot(batch)
        else:
            self._apply_live(self._log, batch)
        self._upstream = batch.cursor or self._upstream
        self.anchor = batch.anchor or self.anchor

    def _apply_snapshot(self, batch: Batch) -> None:
        for change in batch.changes:
            self._view.apply(change)
        if batch.caught_up:
            self._log = Log(batch.cursor, self._limits.log_entries, self._limits.log_bytes)

    def _apply_live(self, log: Log, batch: Batch) -> None:
        entries: list[Entry] = []
        last = len(batch.changes) - 1
        for index, change in enumerate(batch.changes):
            if change.kind is Kind.PENDING or change.position <= self._position:
                continue  # overlap after a reconnection
            # Inside a batch only the boundary before it is a cursor of the orchestrator.
            upstream = batch.cursor if index == last else self._upstream
            repeats = change.kind is Kind.REQUESTED and self._view.holds(change.item.approval_id)
            self._view.apply(change)
            self._position = change.position
            entries.append(Entry(change, upstream, repeats))
        since = log.end
        log.append(entries)
        if entries and (slow := self._audience.tell(since, entries)):
            _log.warning("subscribers cut off", count=slow, position=self._position)

    @property
    def approvers(self) -> bool:
        """Whether anybody listens for what they may approve."""
        return self._audience.approvers

    def stand(self, places: Mapping[str, tuple[Place, ...]]) -> None:
        """Who lets whom decide for them now, by who is let: whoever listened by another one is to begin anew."""
        if changed := self._audience.stand(places):
            _log.info("subscribers' standing changed", count=changed)

    def set_ready(self, ready: bool) -> None:
        """Say whether the feed is followed at present."""
        if ready and self._log is not None:
            self._ready.set()
        else:
            self._ready.clear()

    async def wait_ready(self, seconds: float) -> None:
        """Until the feed is followed. Raises UNAVAILABLE after that many seconds, or when closing."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            raise InterlockError(
                Reason.UNAVAILABLE, "The approval service has no feed from the orchestrator at present."
            ) from None
        if self._closing:
            raise InterlockError(Reason.UNAVAILABLE, "The approval service is stopping.")

    def begin(self, chosen: Filter, on_cut: Callable[[], None]) -> Begun:
        """Subscribe from now on, with what is open now. Raises RESOURCE_EXHAUSTED, UNAVAILABLE."""
        log = self._followed()
        if not self._view.complete:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED,
                "More approvals are open than a subscription can start with.",
                fix="List them with ListApprovals and decide some.",
            )
        subscription = self._subscribe(log, log.end, self._position, chosen, True, on_cut)
        start = replace(self.head, standing=chosen.standing)
        return Begun(subscription, start, self._snapshot(chosen, start, ""))

    def resume(self, chosen: Filter, cursor: Cursor, on_cut: Callable[[], None]) -> Begun | None:
        """Go on after a cursor, with what its snapshot still owes; None when the log does not reach back."""
        log = self._followed()
        same_view = cursor.generation == self._generation
        number = log.locate(cursor, self._upstream)
        if number is None or (cursor.after is not None and not same_view):
            return None
        subscription = self._subscribe(log, number, cursor.position, chosen, same_view, on_cut)
        owed = [] if cursor.after is None else self._snapshot(chosen, cursor, cursor.after)
        return Begun(subscription, cursor, owed)

    def cursor_after(self, entry: Entry, seen: Cursor) -> Cursor:
        """Where someone stands who has just seen an entry, having begun with the snapshot that `seen` names."""
        return Cursor(entry.upstream, entry.change.position, seen.generation, standing=seen.standing)

    def cursor_idle(self, seen: Cursor) -> Cursor:
        """Where someone stands who has seen everything that is known here, and perhaps more, told by others."""
        position = max(self._position, seen.position)
        return replace(self.head, position=position, generation=seen.generation, standing=seen.standing)

    def remove(self, subscription: Subscription) -> None:
        """Stop telling a subscriber; it is gone."""
        self._audience.remove(subscription)

    def close(self) -> None:
        """End every subscription; the service drains."""
        self._closing = True
        self._ready.set()
        self._audience.end_all(Ended.CLOSING)

    def _followed(self) -> Log:
        if self._log is None:
            raise InterlockError(Reason.UNAVAILABLE, "The approval service has no feed at present.")
        return self._log

    def _snapshot(self, chosen: Filter, start: Cursor, after: str) -> list[Change]:
        return [c for c in self._view.snapshot(start.position, after) if chosen.matches(c.item)]

    def _subscribe(
        self,
        log: Log,
        number: int,
        seen: int,
        chosen: Filter,
        saw_snapshot: bool,
        on_cut: Callable[[], None],
    ) -> Subscription:
        if len(self._audience) >= self._limits.subscribers:
            raise InterlockError(Reason.RESOURCE_EXHAUSTED, "The approval service has too many subscribers.")
        group = self._audience.group(chosen)
        subscription = Subscription(log, number, seen, group.wants, saw_snapshot=saw_snapshot, on_cut=on_cut)
        self._audience.add(subscription, chosen, group)
        return subscription
