"""Subscribe: what is open, then everything that happens, resumable anywhere.

Three ways to stand in the feed, each handed over to the next without gap or duplicate:

1. inside the snapshot: open approvals by id, until all that were open at the start are sent;
2. behind the log (this process has not seen that far back): relayed from the orchestrator's own feed;
3. in the log: read from memory, together with everyone else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from interlock.approval.domain.changes import Change, Filter
from interlock.approval.domain.cursor import Cursor, decode
from interlock.approval.domain.log import Entry
from interlock.approval.hub import Begun, Hub
from interlock.approval.ports import Orchestrator
from interlock.approval.shares import Shares
from interlock.approval.subscription import Ended, Subscription
from interlock.common.errors import InterlockError, Reason


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a change or (None) a heartbeat, and the cursor after it.

    `reset`: it belongs to a snapshot that stands in for what an expired cursor would have continued.
    """

    change: Change | None
    cursor: str
    caught_up: bool
    reset: bool = False


_RECENT: Final = 512
Told = Callable[[Entry, Cursor], tuple[Cursor, Message]]
Idle = Callable[[Cursor], Cursor]


class Live:
    """The last phase, in which a subscriber spends its life: one entry of the log after the other."""

    def __init__(self, subscription: Subscription, seen: Cursor, text: str, told: Told, idle: Idle) -> None:
        self._subscription = subscription
        self._seen = seen
        self._text = text
        self._told = told
        self._idle = idle

    async def next(self, heartbeat: float) -> Message | None:
        """What is told next, after that many seconds of silence a heartbeat. Raises when the subscription has ended.

        None when what the subscriber may approve has changed: nothing more comes from here.
        """
        entry = await self._subscription.take(heartbeat)
        if entry is not None:
            self._seen, message = self._told(entry, self._seen)
        elif self._subscription.ended is Ended.STANDING:
            return None
        elif self._subscription.ended:
            raise _ended(self._subscription.ended, self._text)
        else:
            self._seen = self._idle(self._seen)
            message = Message(None, self._seen.encode(), True)
        self._text = message.cursor
        return message


class Messages:
    """A subscription's messages, in order. Close it, as an asynchronous generator.

    It is not one: each generator that a message comes through costs every subscriber its time.
    """

    def __init__(self, phases: AsyncGenerator[Message | Live, None], heartbeat: float) -> None:
        self._phases = phases
        self._heartbeat = heartbeat
        self._live: Live | None = None

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        while True:
            if self._live is None:
                found = await anext(self._phases)
                if isinstance(found, Message):
                    return found
                self._live = found
            try:
                message = await self._live.next(self._heartbeat)
            except BaseException:
                await self.aclose()
                raise
            if message is not None:
                return message
            self._live = None

    async def aclose(self) -> None:
        """Nobody listens any more."""
        await self._phases.aclose()


class Subscriptions:
    """Serves subscriptions from a hub, and from the orchestrator where the hub does not reach back.

    Args:
        hub: the fan-out.
        orchestrator: for what is older than the hub's log.
        heartbeat_seconds: silence after which a heartbeat is sent.
        relays: most subscriptions that may be relayed from the orchestrator at once.
        relays_each: most of them for one caller.
        patience_seconds: how long a relayed subscriber may take over one message before it is given up: it holds up
            nobody, but others may wait for its turn.
        ready_seconds: how long a new subscription waits for a feed.
    """

    def __init__(
        self,
        hub: Hub,
        orchestrator: Orchestrator,
        *,
        heartbeat_seconds: float = 10.0,
        relays: int = 256,
        relays_each: int = 32,
        patience_seconds: float = 30.0,
        ready_seconds: float = 5.0,
    ) -> None:
        self._hub = hub
        self._orchestrator = orchestrator
        self._heartbeat = heartbeat_seconds
        self._relays = relays
        self._relayed = Shares(relays_each, "subscriptions that are caught up")
        self._patience = patience_seconds
        self._ready_seconds = ready_seconds
        self._recent: dict[tuple[int, str, str], tuple[Cursor, Message]] = {}

    def messages(self, chosen: Filter, text: str, on_cut: Callable[[], None], share: str = "") -> Messages:
        """Everything the filter chooses after a cursor's text (empty: first what is open). Ends by an error only.

        Raises CURSOR_INVALID; CURSOR_EXPIRED after a fresh snapshot, with the cursor after it in the metadata, also
        when the subscriber asked for what it may approve, and that has changed since the cursor;
        RESOURCE_EXHAUSTED with `cursor` in the metadata for a subscriber that was too slow; UNAVAILABLE when there
        is no feed. `share` is by what the caller is counted.
        """
        return Messages(self._phases(chosen, text, on_cut, share), self._heartbeat)

    async def _phases(
        self, chosen: Filter, text: str, on_cut: Callable[[], None], share: str
    ) -> AsyncGenerator[Message | Live, None]:
        """What is told until the subscriber stands in the log; then that, and nothing more."""
        cursor = decode(text) if text else None
        await self._hub.wait_ready(self._ready_seconds)
        expired: InterlockError
        try:
            if cursor is not None and cursor.standing != chosen.standing:
                raise _stands_anew()
            async with aclosing(self._after(chosen, cursor, on_cut, share)) as messages:
                async for message in messages:
                    yield message
            # Only a changed standing leads here: nothing else ends without an error.
            chosen = replace(chosen, places=await self._orchestrator.places())
            expired = _stands_anew()
        except InterlockError as error:
            if error.reason is not Reason.CURSOR_EXPIRED:
                raise
            expired = error
        async with aclosing(self._anew(chosen, expired, on_cut)) as snapshot:
            async for message in snapshot:
                yield message

    async def _anew(
        self, chosen: Filter, expired: InterlockError, on_cut: Callable[[], None]
    ) -> AsyncGenerator[Message, None]:
        """What is open now, for someone whose cursor has expired; then that error, with the cursor to go on from."""
        begun = self._hub.begin(chosen, on_cut)
        self._hub.remove(begun.subscription)  # it comes back with the cursor
        text = begun.start.encode()
        for change in begun.snapshot:
            yield Message(change, begun.start.within_snapshot(change.item.approval_id).encode(), False, True)
        yield Message(None, text, True, True)
        raise InterlockError(
            Reason.CURSOR_EXPIRED,
            str(expired),
            field="cursor",
            fix="Forget what was open, take what was just sent, and subscribe again with the cursor in the metadata.",
            metadata={"cursor": text},
        )

    async def _after(
        self, chosen: Filter, cursor: Cursor | None, on_cut: Callable[[], None], share: str
    ) -> AsyncGenerator[Message | Live, None]:
        if cursor is None:
            begun = self._hub.begin(chosen, on_cut)
        else:
            resumed = self._hub.resume(chosen, cursor, on_cut)
            if resumed is None and cursor.after is not None:
                raise _expired()
            if resumed is None:
                with self._relayed.one(share):
                    async with aclosing(self._relay(chosen, cursor, on_cut)) as relayed:
                        async for item in relayed:
                            if isinstance(item, Begun):
                                resumed = item
                                break
                            with _within(self._patience, on_cut):
                                yield item
            begun = _certain(resumed)
        async with aclosing(self._from_log(begun, fresh=cursor is None)) as live:
            async for message in live:
                yield message

    async def _from_log(self, begun: Begun, *, fresh: bool) -> AsyncGenerator[Message | Live, None]:
        subscription, seen = begun.subscription, replace(begun.start, after=None)
        text = begun.start.encode()
        try:
            for change in begun.snapshot:
                text = begun.start.within_snapshot(change.item.approval_id).encode()
                yield Message(change, text, False)
            if fresh or begun.start.after is not None:
                text = seen.encode()
                yield Message(None, text, True)
            yield Live(subscription, seen, text, self._told, self._hub.cursor_idle)
        finally:
            self._hub.remove(subscription)

    def _told(self, entry: Entry, seen: Cursor) -> tuple[Cursor, Message]:
        """What is told of an entry, and where that leaves whoever is told: one object for all who stand alike."""
        key = entry.change.position, seen.generation, seen.standing
        known = self._recent.get(key)
        if known is None or known[1].change is not entry.change:
            cursor = self._hub.cursor_after(entry, seen)
            known = self._recent[key] = cursor, Message(entry.change, cursor.encode(), True)
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
        return known

    async def _relay(
        self, chosen: Filter, cursor: Cursor, on_cut: Callable[[], None]
    ) -> AsyncGenerator[Message | Begun, None]:
        """The orchestrator's feed after a cursor until the hub's log covers it; the last item is the handover."""
        if self._relays <= 0:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED, "Too many subscribers are being caught up.", retry_after=5.0
            )
        self._relays -= 1
        try:
            async with aclosing(self._orchestrator.watch(cursor.upstream)) as batches:
                async for batch in batches:
                    if batch is None:
                        continue
                    sent = False
                    for index, change in enumerate(batch.changes):
                        if change.position <= cursor.position:
                            continue
                        boundary = batch.cursor if index == len(batch.changes) - 1 else cursor.upstream
                        cursor = Cursor(boundary, change.position, standing=cursor.standing)
                        if chosen.matches(change.item):
                            yield Message(change, cursor.encode(), True)
                            sent = True
                    upstream = batch.cursor or cursor.upstream
                    cursor = Cursor(upstream, cursor.position, standing=cursor.standing)
                    if not sent:
                        yield Message(None, cursor.encode(), True)
                    begun = self._hub.resume(chosen, cursor, on_cut)
                    if begun is not None:
                        yield begun
                        return
        except InterlockError as error:
            raise _with_cursor(error, cursor) from None
        finally:
            self._relays += 1
        raise _with_cursor(InterlockError(Reason.UNAVAILABLE, "The orchestrator ended its feed."), cursor)


@contextmanager
def _within(seconds: float, otherwise: Callable[[], None]) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, otherwise)
    try:
        yield
    finally:
        timer.cancel()


def cancel_later(seconds: float) -> Callable[[], None]:
    """For `on_cut`: end the current rpc even if its client never reads again, after a time to read the reason."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def cut() -> None:
        if task is not None and not task.done():
            loop.call_later(seconds, task.cancel)

    return cut


def _certain(begun: Begun | None) -> Begun:
    if begun is None:
        raise InterlockError(Reason.UNAVAILABLE, "The subscription could not be caught up.")
    return begun


def _expired() -> InterlockError:
    return InterlockError(
        Reason.CURSOR_EXPIRED,
        "The cursor points into a list of open approvals that is no longer kept.",
        field="cursor",
    )


def _stands_anew() -> InterlockError:
    return InterlockError(
        Reason.CURSOR_EXPIRED,
        "What the subscriber may approve has changed: a delegation to it began or ended, or its role or groups did.",
        field="cursor",
    )


def _ended(why: Ended | None, cursor: str) -> InterlockError:
    metadata = {"cursor": cursor}
    if why is Ended.TOO_SLOW:
        return InterlockError(
            Reason.RESOURCE_EXHAUSTED,
            "The subscriber did not keep up and was cut off.",
            fix="Subscribe again with the cursor in the metadata, and read faster or filter more.",
            metadata=metadata,
        )
    text = "is stopping" if why is Ended.CLOSING else "lost its feed"
    return InterlockError(
        Reason.UNAVAILABLE,
        f"The approval service {text}.",
        fix="Subscribe again with the cursor in the metadata.",
        metadata=metadata,
    )


def _with_cursor(error: InterlockError, cursor: Cursor) -> InterlockError:
    if error.reason in (Reason.CURSOR_EXPIRED, Reason.CURSOR_INVALID):
        return error
    error.metadata["cursor"] = cursor.encode()
    return error
