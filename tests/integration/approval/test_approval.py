"""The Approval service over real gRPC, against a scripted orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.fake_orchestrator import DIGEST, FakeOrchestrator, approval_id, record, serving

from interlock.approval.config import Config
from interlock.approval.queries.subscribe import cancel_later
from interlock.approval.server import SERVICE, build
from interlock.common.addresses import Address, parse_address
from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.server import running
from interlock.v1 import approval_pb2 as pb
from interlock.v1 import approval_pb2_grpc
from interlock.v1 import decision_pb2 as d

PENDING, REQUESTED, RESOLVED = "PENDING", "REQUESTED", "RESOLVED"
Seen = tuple[str, int]


def seen(message: Any) -> Seen | None:
    """`(kind, number of the approval)`; None for a heartbeat."""
    if not message.HasField("event"):
        return None
    kind = d.ApprovalEventKind.Name(message.event.kind).removeprefix("APPROVAL_EVENT_KIND_")
    return kind, int(message.event.approval.approval_id.removeprefix("apr-"))


class Caller:
    """A client of the service."""

    def __init__(self, opened: Any) -> None:
        self.channel = opened
        self.stub: Any = approval_pb2_grpc.ApprovalStub(opened)

    def subscribe(self, cursor: str = "", **options: Any) -> Reader:
        return Reader(self.stub.Subscribe(pb.SubscribeRequest(cursor=cursor, **options)))

    async def decide(self, number: int, verdict: str = "approve", **options: Any) -> Any:
        metadata = options.pop("metadata", None)
        request = pb.DecideRequest(approval_id=approval_id(number), **options)
        if not request.decision.digest:
            request.decision.digest = DIGEST
        getattr(request.decision, verdict).SetInParent()
        if verdict == "edit":
            request.decision.edit.input.run_command.command = "make check"
        with rpc_errors():
            return (await self.stub.Decide(request, metadata=metadata)).approval

    async def health(self) -> int:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        return int((await health_pb2_grpc.HealthStub(self.channel).Check(request)).status)

    async def wait_healthy(self, healthy: bool = True) -> None:
        wanted = 1 if healthy else 2
        async for message in health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest()):
            if message.status == wanted:
                return


class Reader:
    """A subscription, read message by message."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages = call.__aiter__()
        self.cursor = ""
        self.last: Any = None
        self.heard: list[Seen] = []

    async def next(self) -> Seen | None:
        async with asyncio.timeout(20):
            with rpc_errors():
                self.last = await anext(self._messages)
        assert self.last.cursor
        self.cursor = self.last.cursor
        return seen(self.last)

    async def events(self, count: int) -> list[Seen]:
        found: list[Seen] = []
        while len(found) < count:
            item = await self.next()
            if item is not None:
                found.append(item)
        return found

    async def until_caught_up(self) -> list[Seen]:
        found: list[Seen] = []
        while True:
            item = await self.next()
            if item is not None:
                found.append(item)
            if self.last.caught_up:
                return found

    async def fails(self) -> InterlockError:
        with pytest.raises(InterlockError) as caught:
            await self.drain()
        return caught.value

    async def drain(self) -> list[Seen]:
        """Read until the call ends, by an error always."""
        while True:
            item = await self.next()
            self.heard += [item] if item else []

    def stop(self) -> None:
        self._call.cancel()


CONFIG = Config(Address("127.0.0.1", 0), Address(), "t", heartbeat_seconds=0.1, grace_seconds=0.2)


@asynccontextmanager
async def approvals(upstream: str, **options: Any) -> AsyncIterator[Caller]:
    config = replace(CONFIG, orchestrator=parse_address(upstream), **options)
    async with running(build(config)) as address, channel(address, "t") as opened:
        yield Caller(opened)


@pytest.fixture
def fake() -> FakeOrchestrator:
    return FakeOrchestrator()


@pytest.fixture
async def upstream(fake: FakeOrchestrator) -> AsyncIterator[str]:
    async with serving(fake) as address:
        yield address


@pytest.fixture
async def caller(upstream: str) -> AsyncIterator[Caller]:
    async with approvals(upstream) as caller:
        await caller.wait_healthy()
        yield caller


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

    async def test_cursor_inside_a_snapshot_does_not_survive_a_restart_and_says_so(
        self, fake: FakeOrchestrator, upstream: str
    ) -> None:
        await fake.request(record(1), record(2))
        async with approvals(upstream) as first:
            await first.wait_healthy()
            reader = first.subscribe()
            assert await reader.next() == (PENDING, 1)
        async with approvals(upstream) as second:
            await second.wait_healthy()
            error = await second.subscribe(reader.cursor).fails()
        assert error.reason is Reason.CURSOR_EXPIRED
        assert "without a cursor" in error.fix

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
            error = await second.subscribe(reader.cursor).fails()
        assert error.reason is Reason.CURSOR_EXPIRED

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


class TestListAndGet:
    async def test_list_pages_without_previews(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(*(record(n) for n in range(1, 6)))
        await fake.resolve(2)
        found, token = [], ""
        while True:
            page = await caller.stub.ListApprovals(pb.ListApprovalsRequest(page_size=2, page_token=token))
            found += [int(a.approval_id[4:]) for a in page.approvals]
            assert not any(a.HasField("preview") for a in page.approvals)
            token = page.next_page_token
            if not token:
                break
        assert found == [1, 3, 4, 5]

    async def test_get_has_the_preview(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1, preview="everything"))
        response = await caller.stub.GetApproval(pb.GetApprovalRequest(approval_id=approval_id(1)))
        assert response.approval.preview.diff == "everything"

    async def test_get_unknown(self, caller: Caller) -> None:
        with pytest.raises(InterlockError) as caught, rpc_errors():
            await caller.stub.GetApproval(pb.GetApprovalRequest(approval_id="apr-x"))
        assert caught.value.reason is Reason.APPROVAL_NOT_FOUND
        assert caught.value.field == "approval_id"


class TestDecide:
    @pytest.mark.parametrize(("verdict", "state"), [("approve", 2), ("reject", 3), ("skip", 4), ("edit", 5)])
    async def test_verdicts(self, fake: FakeOrchestrator, caller: Caller, verdict: str, state: int) -> None:
        await fake.request(record(1))
        reader = caller.subscribe()
        await reader.until_caught_up()
        answered = await caller.decide(1, verdict)
        assert answered.state == state
        assert fake.decisions[0].decision.WhichOneof("verdict") == verdict
        assert await reader.events(1) == [(RESOLVED, 1)]
        assert reader.last.event.approval.state == state

    async def test_subject_comes_from_the_credentials(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2))
        decision = d.Decision(subject="mallory", comment="ok", digest=DIGEST)
        await caller.decide(1, decision=decision)
        await caller.decide(2, decision=decision, metadata=(("x-interlock-subject", "ada"),))
        assert [r.decision.subject for r in fake.decisions] == ["local", "ada"]
        assert [r.decision.comment for r in fake.decisions] == ["ok", "ok"]
        assert fake.decisions[0].decision.channel == "grpc"

    async def test_request_id_is_passed_on_or_made(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1), record(2))
        await caller.decide(1, request_id="mine")
        await caller.decide(2)
        assert fake.decisions[0].request_id == "mine"
        assert fake.decisions[1].request_id

    async def test_trace_is_passed_on(self, fake: FakeOrchestrator, caller: Caller) -> None:
        await fake.request(record(1))
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await caller.decide(1, metadata=(("traceparent", parent),))
        assert fake.metadata[0]["traceparent"].split("-")[1] == parent.split("-")[1]

    @pytest.mark.parametrize(
        ("prepare", "options", "reason"),
        [
            (lambda fake: None, {"number": 7}, Reason.APPROVAL_NOT_FOUND),
            (lambda fake: fake.resolve(1), {}, Reason.APPROVAL_ALREADY_DECIDED),
            (lambda fake: None, {"run_id": "run-9"}, Reason.APPROVAL_WRONG_STEP),
            (
                lambda fake: None,
                {"decision": d.Decision(digest="sha256:" + "00" * 32)},
                Reason.APPROVAL_DIGEST_MISMATCH,
            ),
            (lambda fake: None, {"decision": d.Decision(digest="short")}, Reason.VALIDATION_FAILED),
            (lambda fake: None, {"step": -1}, Reason.VALIDATION_FAILED),
        ],
    )
    async def test_refusals_arrive_typed(
        self,
        fake: FakeOrchestrator,
        caller: Caller,
        prepare: Callable[[FakeOrchestrator], Any],
        options: dict[str, Any],
        reason: Reason,
    ) -> None:
        await fake.request(record(1))
        prepared = prepare(fake)
        if prepared is not None:
            await prepared
        with pytest.raises(InterlockError) as caught:
            await caller.decide(options.pop("number", 1), **options)
        assert caught.value.reason is reason
        assert caught.value.metadata["request_id"].startswith("req-")
        if reason is Reason.APPROVAL_ALREADY_DECIDED:
            assert caught.value.metadata["subject"] == "ada"

    async def test_orchestrator_away(self, tmp_path: Path) -> None:
        async with approvals(f"unix:{tmp_path}/nothing.sock") as caller:
            with pytest.raises(InterlockError) as caught:
                await caller.decide(1)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "orchestrator" in str(caught.value)

    async def test_wrong_token_between_services_is_not_the_callers_fault(
        self, fake: FakeOrchestrator
    ) -> None:
        async with serving(fake, token="another") as upstream, approvals(upstream) as caller:
            with pytest.raises(InterlockError) as caught:
                await caller.decide(1)
        assert caught.value.reason is Reason.UNAVAILABLE
        assert "token" in str(caught.value)
