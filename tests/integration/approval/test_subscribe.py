"""Subscriptions over real gRPC, against a scripted orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.approvals import (
    PENDING,
    REQUESTED,
    RESOLVED,
    Caller,
    Seen,
    approvals,
)
from tests.support.fake_orchestrator import FakeOrchestrator, record, serving

from interlock.approval.queries.subscribe import cancel_later
from interlock.common.errors import Reason
from interlock.v1 import approval_pb2 as pb


class TestSubscribe:
    async def test_pending_first_then_everything(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2))
        reader = caller.subscribe()
        assert sorted(await reader.events(2))[0][1] == 1
        late = caller.subscribe()
        assert await late.until_caught_up() == [(PENDING, 1), (PENDING, 2)]
        await fake.resolve(1)
        await fake.request(record(3))
        for each in (reader, late):
            assert await each.events(2) == [(RESOLVED, 1), (REQUESTED, 3)]
        assert late.last.caught_up

    async def test_heartbeats_carry_cursor_and_time(self, caller: Caller) -> None:
        reader = caller.subscribe()
        await reader.until_caught_up()
        assert await reader.next() is None
        assert reader.last.at.seconds > 0
        assert reader.last.caught_up

    async def test_preview_only_when_asked_for(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1, preview="the diff"))
        plain, full = caller.subscribe(), caller.subscribe(with_preview=True)
        await plain.events(1)
        await full.events(1)
        assert not plain.last.event.approval.HasField("preview")
        assert plain.last.event.approval.title == "approval 1"
        assert full.last.event.approval.preview.diff == "the diff"

    @pytest.mark.parametrize(
        ("chosen", "numbers"),
        [
            ({}, [1, 2, 3, 4]),
            ({"run_id": "run-2"}, [2]),
            ({"workspace_id": "ws-2"}, []),
            ({"kinds": [3]}, [3]),
            ({"labels": {"team": "a"}}, [3, 4]),
            ({"labels": {"team": "a", "env": "x"}}, [4]),
            ({"run_id": "run-2", "labels": {"team": "a"}}, []),
        ],
    )
    async def test_filters(
        self, fake: FakeOrchestrator, caller: Caller, chosen: dict[str, Any], numbers: list[int]
    ) -> None:
        reader = caller.subscribe(filter=pb.ApprovalFilter(**chosen))
        await reader.until_caught_up()
        await fake.request(
            record(1),
            record(2, run="run-2"),
            record(3, kind="edit_file", team="a"),
            record(4, team="a", env="x"),
        )
        await fake.request(record(9, run="run-2", kind="edit_file", team="a", env="x"))
        await fake.resolve(9)
        wanted = [*((REQUESTED, n) for n in numbers), *([] if "workspace_id" in chosen else [(REQUESTED, 9)])]
        assert await reader.events(len(wanted)) == wanted
        snapshot = caller.subscribe(filter=pb.ApprovalFilter(**chosen))
        assert await snapshot.until_caught_up() == [(PENDING, n) for n in numbers]

    async def test_every_prefix_can_be_resumed(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2), record(3))
        reader = caller.subscribe()
        cursors = []
        total: list[Seen] = []
        for _ in range(4):
            item = await reader.next()
            cursors.append((reader.cursor, len(total) + (item is not None)))
            total += [item] if item else []
        await fake.resolve(2)
        await fake.request(record(4), record(5))
        await fake.resolve(4, 1)
        for _ in range(5):
            total += await reader.events(1)
            cursors.append((reader.cursor, len(total)))
        assert total[-5:] == [(RESOLVED, 2), (REQUESTED, 4), (REQUESTED, 5), (RESOLVED, 4), (RESOLVED, 1)]
        for cursor, count in cursors:
            again = caller.subscribe(cursor)
            rest = total[count:]
            # In the middle of a snapshot, what was resolved meanwhile is told as resolved only.
            gone = {(PENDING, 1), (PENDING, 2)}
            rest = [item for item in rest if item not in gone]
            assert await again.events(len(rest)) == rest
            again.stop()

    @pytest.mark.parametrize("cursor", ["nonsense", "AAAA", "x" * 1000])
    async def test_invalid_cursor(self, caller: Caller, cursor: str) -> None:
        error = await caller.subscribe(cursor).fails()
        assert error.reason is Reason.CURSOR_INVALID

    async def test_asked_while_the_snapshot_was_read_is_told_once(self, fake: FakeOrchestrator) -> None:
        fake.snapshot_held = asyncio.Event()
        async with serving(fake) as upstream, approvals(upstream) as caller:
            while not fake.watches:  # noqa: ASYNC110 (the service connects on its own)
                await asyncio.sleep(0.005)
            await fake.request(record(1))
            fake.snapshot_held.set()
            await caller.wait_healthy()
            reader = caller.subscribe()
            assert await reader.until_caught_up() == [(PENDING, 1)]
            await fake.request(record(2))
            assert await reader.events(1) == [(REQUESTED, 2)]

    async def test_asked_while_a_later_snapshot_was_read_reaches_those_who_resume(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            await reader.until_caught_up()
        fake.watches.clear()
        fake.snapshot_held = asyncio.Event()
        fake.leaves_out_known = True
        async with approvals(upstream) as second:
            while "" not in fake.watches:  # noqa: ASYNC110 (the service connects on its own)
                await asyncio.sleep(0.005)
            await fake.request(record(1))
            fake.snapshot_held.set()
            await second.wait_healthy()
            resumed, fresh = second.subscribe(reader.cursor), second.subscribe()
            assert await resumed.events(1) == [(REQUESTED, 1)]
            assert await fresh.until_caught_up() == [(PENDING, 1)]
            await fake.request(record(2))
            assert await resumed.events(1) == await fresh.events(1) == [(REQUESTED, 2)]


class TestSlowSubscribers:
    async def test_cut_off_with_cursor_while_others_go_on(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        async with approvals(upstream, log_entries=20) as caller:
            await caller.wait_healthy()
            slow, quick = caller.subscribe(with_preview=True), caller.subscribe()
            await slow.until_caught_up()
            await quick.until_caught_up()
            big = "x" * 200_000
            got: list[Seen] = []
            for number in range(1, 61):
                await fake.request(record(number, preview=big))
                got += await quick.events(1)
            assert got == [(REQUESTED, number) for number in range(1, 61)]
            error = await slow.fails()
            heard = slow.heard
            assert error.reason is Reason.RESOURCE_EXHAUSTED
            assert error.metadata["cursor"] == slow.cursor
            assert heard == [(REQUESTED, number) for number in range(1, len(heard) + 1)]
            rest = caller.subscribe(error.metadata["cursor"])
            assert await rest.events(60 - len(heard)) == [(REQUESTED, n) for n in range(len(heard) + 1, 61)]

    async def test_one_that_never_reads_again_does_not_keep_its_call(
        self, fake: FakeOrchestrator, upstream: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handlers: list[asyncio.Task[Any]] = []

        def soon(seconds: float) -> Callable[[], None]:
            handlers.append(_this_task())
            return cancel_later(0.05)

        monkeypatch.setattr("interlock.approval.service.cancel_later", soon)
        async with approvals(upstream, log_entries=2) as caller:
            await caller.wait_healthy()
            stuck, quick = caller.subscribe(with_preview=True), caller.subscribe()
            await stuck.until_caught_up()
            await quick.until_caught_up()
            for number in range(1, 41):
                await fake.request(record(number, preview="x" * 200_000))
                await quick.events(1)
            async with asyncio.timeout(20):
                await asyncio.wait(handlers[:1])
            assert not handlers[1].done()
            await fake.request(record(99))
            assert await quick.events(1) == [(REQUESTED, 99)]


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
