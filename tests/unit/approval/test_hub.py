"""The hub and subscriptions, driven by batches; the orchestrator is a scripted list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.approval.domain.changes import Batch, Change, Filter, Item, Kind
from interlock.approval.domain.cursor import Cursor
from interlock.approval.hub import Hub, Limits
from interlock.approval.queries.subscribe import Message, Messages, Subscriptions
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.ids import SequentialIds, UlidIds

Make = Callable[..., Change]
EVERYTHING = Filter()


def started(changes: tuple[Change, ...] = (), limits: Limits | None = None) -> Hub:
    hub = Hub(SequentialIds(), limits)
    hub.apply(Batch(changes, "c0", caught_up=True))
    hub.set_ready(True)
    return hub


class Orchestrator:
    """A list of batches by the cursor they follow."""

    def __init__(self, batches: dict[str, list[Batch]] | None = None) -> None:
        self.batches = batches or {}
        self.open = 0

    async def watch(self, cursor: str) -> AsyncGenerator[Batch | None, None]:
        self.open += 1
        try:
            yield None
            if cursor not in self.batches:
                raise InterlockError(Reason.CURSOR_EXPIRED, "Too old.")
            for batch in self.batches[cursor]:
                yield batch
        finally:
            self.open -= 1

    async def record(self, answer: Any) -> Any:
        raise AssertionError("not asked for here")

    get = page = record


def subscriptions(hub: Hub, orchestrator: Orchestrator | None = None, **options: Any) -> Subscriptions:
    return Subscriptions(
        hub, orchestrator or Orchestrator(), **{"heartbeat_seconds": 0.05, "ready_seconds": 0.05, **options}
    )


async def read(stream: Messages, count: int) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            message = await anext(stream)
            if message.change is not None:
                found.append(message)
    return found


def told(messages: list[Message]) -> list[tuple[Kind, str]]:
    return [(m.change.kind, m.change.item.approval_id) for m in messages if m.change]


async def open_stream(source: Subscriptions, cursor: str = "", chosen: Filter = EVERYTHING) -> Any:
    return aclosing(source.messages(chosen, cursor, lambda: None))


async def test_subscriber_that_never_reads_holds_up_nobody(change: Make) -> None:
    hub = started(limits=Limits(log_entries=5))
    source = subscriptions(hub)
    cuts: list[str] = []
    stuck = source.messages(EVERYTHING, "", lambda: cuts.append("cut"))
    quick = source.messages(EVERYTHING, "", lambda: None)
    async with aclosing(stuck), aclosing(quick):
        assert (await anext(stuck)).caught_up
        assert (await anext(quick)).caught_up
        for n in range(1, 101):
            hub.apply(Batch((change(Kind.REQUESTED, n, n),), f"c{n}"))
            assert told(await read(quick, 1)) == [(Kind.REQUESTED, f"apr-{n:03d}")]
        assert cuts == ["cut"]
        with pytest.raises(InterlockError) as caught:
            await anext(stuck)
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert caught.value.metadata["cursor"]


async def test_too_many_subscribers(change: Make) -> None:
    hub = started(limits=Limits(subscribers=1))
    source = subscriptions(hub)
    first = source.messages(EVERYTHING, "", lambda: None)
    async with aclosing(first):
        await anext(first)
        with pytest.raises(InterlockError) as caught:
            await anext(source.messages(EVERYTHING, "", lambda: None))
        assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    second = source.messages(EVERYTHING, "", lambda: None)
    async with aclosing(second):
        assert await anext(second)


async def test_too_many_open_approvals_to_start_with(change: Make) -> None:
    hub = started((change(Kind.PENDING, 0, 1), change(Kind.PENDING, 0, 2)), Limits(pending=1))
    with pytest.raises(InterlockError) as caught:
        await anext(subscriptions(hub).messages(EVERYTHING, "", lambda: None))
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert "ListApprovals" in caught.value.fix


async def test_no_feed_yet() -> None:
    hub = Hub(SequentialIds())
    with pytest.raises(InterlockError) as caught:
        await anext(subscriptions(hub).messages(EVERYTHING, "", lambda: None))
    assert caught.value.reason is Reason.UNAVAILABLE


async def test_overlap_after_a_reconnection_is_told_once(change: Make) -> None:
    hub = started()
    stream = subscriptions(hub).messages(EVERYTHING, "", lambda: None)
    async with aclosing(stream):
        await anext(stream)
        one, two = change(Kind.REQUESTED, 1, 1), change(Kind.REQUESTED, 2, 2)
        hub.apply(Batch((one,), "c1"))
        hub.apply(Batch((one, two), "c2"))
        assert told(await read(stream, 2)) == [(Kind.REQUESTED, "apr-001"), (Kind.REQUESTED, "apr-002")]


async def test_who_is_ahead_of_the_log_is_not_told_again_when_it_catches_up(change: Make) -> None:
    ahead, behind = started(), started()
    one, two, three = (change(Kind.REQUESTED, number, number) for number in (1, 2, 3))
    for hub in (ahead, behind):
        hub.apply(Batch((one,), "c1"))
    async with aclosing(subscriptions(ahead).messages(EVERYTHING, "", lambda: None)) as stream:
        await read(stream, 1)
        ahead.apply(Batch((two,), "c2"))
        cursor = (await read(stream, 1))[0].cursor
    async with aclosing(subscriptions(behind).messages(EVERYTHING, cursor, lambda: None)) as stream:
        beat = await anext(stream)
        assert beat.change is None
    async with aclosing(subscriptions(behind).messages(EVERYTHING, beat.cursor, lambda: None)) as stream:
        reading = asyncio.create_task(read(stream, 1))
        await asyncio.sleep(0)
        behind.apply(Batch((two,), "c2"))
        behind.apply(Batch((three,), "c3"))
        assert told(await reading) == [(Kind.REQUESTED, "apr-003")]


async def test_filtered_subscriber_still_advances(change: Make) -> None:
    hub = started()
    stream = subscriptions(hub).messages(Filter(run_id="mine"), "", lambda: None)
    async with aclosing(stream):
        first = await anext(stream)
        hub.apply(Batch((change(Kind.REQUESTED, 1, 1, run_id="other"),), "c1"))
        beat = await anext(stream)
    assert beat.change is None
    assert beat.cursor != first.cursor


async def test_relays_are_bounded(change: Make) -> None:
    old = started()
    cursor = old.head.encode()
    hub = Hub(UlidIds(SystemClock()))
    hub.apply(Batch((), "c9", caught_up=True))
    hub.set_ready(True)
    source = subscriptions(hub, Orchestrator({"c0": []}), relays=0)
    with pytest.raises(InterlockError) as caught:
        await anext(source.messages(EVERYTHING, cursor, lambda: None))
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert caught.value.retry_after


def behind(make: Make, **options: Any) -> tuple[Subscriptions, str]:
    """A source whose subscribers are relayed three changes first, and the cursor to come with."""
    hub = Hub(UlidIds(SystemClock()))
    hub.apply(Batch((), "c9", caught_up=True))
    hub.set_ready(True)
    batches = [Batch((make(Kind.REQUESTED, number, number),), f"c{number}") for number in (1, 2, 3)]
    return subscriptions(hub, Orchestrator({"c0": batches}), **options), started().head.encode()


async def test_a_relayed_subscriber_that_does_not_read_is_given_up(change: Make) -> None:
    source, cursor = behind(change, patience_seconds=0.01)
    given_up = asyncio.Event()
    async with aclosing(source.messages(EVERYTHING, cursor, given_up.set)) as stream:
        assert told(await read(stream, 1)) == [(Kind.REQUESTED, "apr-001")]
        async with asyncio.timeout(10):
            await given_up.wait()
        assert told(await read(stream, 1)) == [(Kind.REQUESTED, "apr-002")]


async def test_a_caller_has_its_share_of_relays(change: Make) -> None:
    source, cursor = behind(change, relays=3, relays_each=1)

    async def begin(who: str) -> list[Message]:
        async with aclosing(source.messages(EVERYTHING, cursor, lambda: None, who)) as stream:
            return await read(stream, 1)

    async with aclosing(source.messages(EVERYTHING, cursor, lambda: None, "ada")) as first:
        await read(first, 1)
        with pytest.raises(InterlockError) as caught:
            await begin("ada")
        assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
        assert await begin("bob")
    assert await begin("ada")


async def test_relay_that_is_left_closes_its_feed(change: Make) -> None:
    cursor = started().head.encode()
    hub = Hub(UlidIds(SystemClock()))
    hub.apply(Batch((), "c9", caught_up=True))
    hub.set_ready(True)
    orchestrator = Orchestrator({"c0": [Batch((change(Kind.REQUESTED, 1, 1),), "c1"), Batch((), "c1")]})
    stream = subscriptions(hub, orchestrator).messages(EVERYTHING, cursor, lambda: None)
    async with aclosing(stream):
        assert told(await read(stream, 1)) == [(Kind.REQUESTED, "apr-001")]
        assert orchestrator.open == 1
    assert orchestrator.open == 0


async def test_feed_that_ends_during_a_relay_gives_the_cursor_back(change: Make) -> None:
    cursor = started().head.encode()
    hub = Hub(UlidIds(SystemClock()))
    hub.apply(Batch((), "c9", caught_up=True))
    hub.set_ready(True)
    stream = subscriptions(hub, Orchestrator({"c0": []})).messages(EVERYTHING, cursor, lambda: None)
    with pytest.raises(InterlockError) as caught:
        await anext(stream)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert caught.value.metadata["cursor"]


# --- any history, any place to stop, any restart: nothing is missed and nothing is told twice ---


def _history(steps: list[bool]) -> list[Change]:
    """True asks a new approval, False resolves the oldest open one."""
    changes: list[Change] = []
    open_now: list[str] = []
    for position, ask in enumerate(steps, start=1):
        if ask or not open_now:
            open_now.append(f"apr-{position:03d}")
            changes.append(Change(Kind.REQUESTED, position, Item(open_now[-1]), size=1))
        else:
            changes.append(Change(Kind.RESOLVED, position, Item(open_now.pop(0)), size=1))
    return changes


def _batches(changes: list[Change], cuts: set[int], start: int) -> list[Batch]:
    """The live feed after a position, cut into batches after the given positions."""
    batches: list[Batch] = []
    gathered: list[Change] = []
    for change in changes[start:]:
        gathered.append(change)
        if change.position in cuts or change is changes[-1]:
            batches.append(Batch(tuple(gathered), f"at-{change.position}"))
            gathered = []
    return batches


def _fed(changes: list[Change], cuts: set[int], snapshot_at: int, limits: Limits, ids: Any) -> Hub:
    """A hub that started when the feed was at `snapshot_at` and has seen everything since."""
    open_then: dict[str, Change] = {}
    for change in changes[:snapshot_at]:
        if change.kind is Kind.REQUESTED:
            open_then[change.item.approval_id] = change.as_pending()
        else:
            open_then.pop(change.item.approval_id, None)
    hub = Hub(ids, limits)
    hub.apply(Batch(tuple(open_then.values()), f"at-{snapshot_at}", caught_up=True))
    for batch in _batches(changes, cuts, snapshot_at):
        hub.apply(batch)
    hub.set_ready(True)
    return hub


@settings(max_examples=60)
@given(st.data())
async def test_a_subscriber_that_stops_anywhere_misses_nothing(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.booleans(), min_size=1, max_size=20))
    changes = _history(steps)
    cuts = data.draw(st.sets(st.sampled_from(range(1, len(changes) + 1))))
    boundaries = [0, *sorted(cuts | {len(changes)})]
    limits = Limits(log_entries=data.draw(st.integers(1, 25)))
    ids = UlidIds(SystemClock())
    feed = Orchestrator(
        {
            f"at-{start}": [*_batches(changes, cuts, start), Batch((), f"at-{len(changes)}")]
            for start in boundaries
        }
    )
    first = _fed(changes, cuts, data.draw(st.sampled_from(boundaries)), limits, ids)
    # From the beginning of the feed, relayed or from the log, stopping after each change, in changing processes.

    cursor = Cursor("at-0", 0).encode()
    heard: list[Change] = []
    hub = first
    while len(heard) < len(changes):
        stream = subscriptions(hub, feed).messages(EVERYTHING, cursor, lambda: None)
        count = data.draw(st.integers(1, len(changes) - len(heard)))
        async with aclosing(stream):
            for message in await read(stream, count):
                assert message.change is not None
                heard.append(message.change)
                cursor = message.cursor
        hub = _fed(changes, cuts, data.draw(st.sampled_from(boundaries)), limits, ids)
    assert heard == changes
    assert feed.open == 0
