"""Cursors that outlive the service, the orchestrator and both."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from tests.support.approvals import (
    CONFIG,
    PENDING,
    REQUESTED,
    RESOLVED,
    Caller,
    Reader,
    Seen,
    approvals,
)
from tests.support.fake_orchestrator import FakeOrchestrator, record, serving

from interlock.approval.server import build
from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import running
from interlock.v1 import approval_pb2 as pb


async def _until(reader: Reader, last: Seen) -> list[Seen]:
    """What it hears up to one event, with it."""
    heard: list[Seen] = []
    while last not in heard:
        heard += await reader.events(1)
    return heard


class TestRestarts:
    async def test_feed_lost_and_resumed_without_gap_or_duplicate(
        self, fake: FakeOrchestrator, caller: Caller
    ) -> None:
        await fake.request(record(1))
        reader = caller.subscribe()
        await reader.until_caught_up()
        for number in range(2, 6):
            await fake.drop_watches()
            await fake.request(record(number))
        assert (await reader.events(4))[-4:] == [(REQUESTED, number) for number in range(2, 6)]
        assert fake.watches[0] == ""
        assert all(cursor.startswith("at-") for cursor in fake.watches[1:])

    async def test_health_follows_the_feed(self, fake: FakeOrchestrator, caller: Caller) -> None:
        fake.refuse_watches = InterlockError(Reason.UNAVAILABLE, "Not now.")
        await fake.drop_watches()
        await caller.wait_healthy(False)
        fake.refuse_watches = None
        await caller.wait_healthy()

    async def test_every_live_cursor_survives_a_restart(self, fake: FakeOrchestrator, upstream: str) -> None:
        cursors: list[str] = []
        total: list[Seen] = []
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            await reader.until_caught_up()
            cursors.append(reader.cursor)
            await fake.request(record(1), record(2), record(3))
            await fake.resolve(2)
            for _ in range(4):
                total += await reader.events(1)
                cursors.append(reader.cursor)
        await fake.request(record(4))
        total.append((REQUESTED, 4))
        async with approvals(upstream) as second:
            await second.wait_healthy()
            for count, cursor in enumerate(cursors):
                reader = second.subscribe(cursor)
                assert await reader.events(len(total) - count) == total[count:]
                await fake.request(record(10 + count))
                total.append((REQUESTED, 10 + count))
                assert await reader.events(1) == total[-1:]
                reader.stop()

    async def test_cursor_inside_a_snapshot_gets_a_fresh_one_after_a_restart(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        await fake.request(record(1), record(2))
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            assert await reader.next() == (PENDING, 1)
        async with approvals(upstream) as second:
            await second.wait_healthy()
            again = second.subscribe(reader.cursor)
            error = await again.fails()
            assert error.reason is Reason.CURSOR_EXPIRED
            assert again.heard == [(PENDING, 1), (PENDING, 2)]
            assert (again.last.reset, again.last.caught_up) == (True, True)
            assert error.metadata["cursor"] == again.cursor
            await fake.request(record(3))
            assert await second.subscribe(error.metadata["cursor"]).events(1) == [(REQUESTED, 3)]

    async def test_relayed_subscriber_is_handed_over_and_hears_the_rest(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            await reader.until_caught_up()
            cursor = reader.cursor
        await fake.request(*(record(n) for n in range(1, 31)))
        async with approvals(upstream) as second:
            await second.wait_healthy()
            reader = second.subscribe(cursor)
            assert await reader.events(30) == [(REQUESTED, n) for n in range(1, 31)]
            await reader.next()
            watches = len(fake.watches)
            for n in range(31, 41):
                await fake.request(record(n))
            assert await reader.events(10) == [(REQUESTED, n) for n in range(31, 41)]
            await fake.drop_watches()
            await fake.request(record(41))
            assert await reader.events(1) == [(REQUESTED, 41)]
            # Only the service's own feed came back: the subscriber no longer had one of its own.
            assert len(fake.watches) == watches + 1

    async def test_cursor_older_than_the_orchestrator_keeps(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            await reader.until_caught_up()
        await fake.request(*(record(n) for n in range(1, 5)))
        fake.oldest = 3
        async with approvals(upstream) as second:
            await second.wait_healthy()
            late = second.subscribe(reader.cursor, filter=pb.ApprovalFilter(run_id="run-1"))
            await fake.resolve(2)
            error = await late.fails()
            assert error.reason is Reason.CURSOR_EXPIRED
            # What happens between the snapshot and the next call is not lost, whichever of the two tells it.
            rest = second.subscribe(error.metadata["cursor"])
            await fake.request(record(5))
            told = late.heard + await _until(rest, (REQUESTED, 5))
        assert {n for kind, n in told if kind == PENDING} - {2} == {1, 3, 4}
        assert ((PENDING, 2) in told) == ((RESOLVED, 2) in told)

    async def test_feed_that_expired_starts_anew_and_tells_its_subscribers(
        self, fake: FakeOrchestrator, caller: Caller
    ) -> None:
        await fake.request(record(1))
        reader = caller.subscribe()
        await reader.until_caught_up()
        fake.oldest = 1000
        await fake.drop_watches()
        error = await reader.fails()
        assert error.reason is Reason.UNAVAILABLE
        assert error.metadata["cursor"]
        await caller.wait_healthy()
        assert await caller.subscribe().until_caught_up() == [(PENDING, 1)]

    async def test_orchestrator_that_starts_later(self, fake: FakeOrchestrator, tmp_path: Path) -> None:
        address = Address(path=str(tmp_path / "o.sock"))
        async with approvals(str(address)) as caller:
            assert await caller.health() == 2
            reader = caller.subscribe()
            await fake.request(record(1))
            async with serving(fake, address):
                assert await reader.events(1) == [(PENDING, 1)]

    async def test_without_feed_a_subscription_is_refused(self, tmp_path: Path) -> None:
        async with approvals(f"unix:{tmp_path}/nothing.sock") as caller:
            error = await caller.subscribe().fails()
        assert error.reason is Reason.UNAVAILABLE

    async def test_drain_ends_subscriptions_with_their_cursor(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        async with AsyncExitStack() as stack:
            config = replace(CONFIG, orchestrator=parse_address(upstream), grace_seconds=60.0)
            server = AsyncExitStack()
            address = await server.enter_async_context(running(build(config)))
            opened = await stack.enter_async_context(channel(address, "t"))
            caller = Caller(opened)
            await caller.wait_healthy()
            reader = caller.subscribe()
            await reader.until_caught_up()
            failing = asyncio.ensure_future(reader.fails())
            async with asyncio.timeout(30):
                await server.aclose()
            error = await failing
        assert error.reason is Reason.UNAVAILABLE
        assert error.metadata["cursor"] == reader.cursor
