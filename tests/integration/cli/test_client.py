"""The SDK over real connections to scripted servicers: retries, resuming, digests, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from interlock.client import Client, InterlockError, Reason, Retry
from interlock.common.server import ServerSpec, running
from interlock.v1 import approval_pb2, approval_pb2_grpc, orchestrator_pb2, orchestrator_pb2_grpc
from interlock.v1.decision_pb2 import ApprovalEventKind, ApprovalRecord
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import StepInput

TOKEN = "a-token-of-the-test"
FAST = Retry(attempts=4, first=0.01, longest=0.05)
DIGEST = "sha256:" + "a" * 64


class Orchestrator(orchestrator_pb2_grpc.OrchestratorServicer):
    """Answers as scripted; remembers what it was asked."""

    def __init__(self) -> None:
        self.failures: list[Reason] = []
        self.seen: list[Any] = []
        self.events = 0
        self.breaks: list[int] = []
        self.final = True

    async def CreateRun(self, request: Any, context: Any) -> orchestrator_pb2.CreateRunResponse:
        self.seen.append(request)
        if self.failures:
            raise InterlockError(self.failures.pop(0), "scripted", field="goal", metadata={"a": "b"})
        return orchestrator_pb2.CreateRunResponse(run=Run(run_id="run-1"))

    async def GetRun(self, request: Any, context: Any) -> orchestrator_pb2.GetRunResponse:
        self.seen.append(request)
        state = RunState.RUN_STATE_COMPLETED if self.final else RunState.RUN_STATE_RUNNING
        return orchestrator_pb2.GetRunResponse(run=Run(run_id=request.run_id, state=state))

    async def ListRuns(self, request: Any, context: Any) -> orchestrator_pb2.ListRunsResponse:
        start = int(request.page_token or 0)
        numbers = range(start, min(start + min(request.page_size, 3), 8))
        token = str(numbers.stop) if numbers.stop < 8 else ""
        runs = [Run(run_id=f"run-{number}") for number in numbers]
        return orchestrator_pb2.ListRunsResponse(runs=runs, next_page_token=token)

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[orchestrator_pb2.WatchRunResponse]:
        self.seen.append(request)
        start = int(request.cursor or 0)
        limit = self.breaks.pop(0) if self.breaks else None
        yield orchestrator_pb2.WatchRunResponse(cursor=request.cursor)
        for count, number in enumerate(range(start + 1, self.events + 1)):
            if count == limit:
                raise InterlockError(Reason.UNAVAILABLE, "going away")
            last = number == self.events
            state = RunState.RUN_STATE_COMPLETED if last else RunState.RUN_STATE_RUNNING
            message = orchestrator_pb2.WatchRunResponse(cursor=str(number), run=Run(state=state))
            message.event.seq = number
            yield message


class Approvals(approval_pb2_grpc.ApprovalServicer):
    """Two approvals, one resolved; breaks after each message."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def Subscribe(self, request: Any, context: Any) -> AsyncIterator[approval_pb2.SubscribeResponse]:
        self.seen.append(request)
        kinds = [
            ApprovalEventKind.APPROVAL_EVENT_KIND_PENDING,
            ApprovalEventKind.APPROVAL_EVENT_KIND_RESOLVED,
            ApprovalEventKind.APPROVAL_EVENT_KIND_REQUESTED,
        ]
        start = int(request.cursor or 0)
        for number, kind in enumerate(kinds[start:], start + 1):
            message = approval_pb2.SubscribeResponse(cursor=str(number))
            message.event.kind = kind
            message.event.approval.CopyFrom(
                ApprovalRecord(approval_id=f"apr-{number}", run_id="run-1", step=number, digest=DIGEST)
            )
            yield message
            if number % 2:
                raise InterlockError(Reason.UNAVAILABLE, "going away")

    async def Decide(self, request: Any, context: Any) -> approval_pb2.DecideResponse:
        self.seen.append(request)
        return approval_pb2.DecideResponse(approval=ApprovalRecord(approval_id=request.approval_id))


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[tuple[Client, Orchestrator, Approvals]]:
    orchestrator, approvals = Orchestrator(), Approvals()
    add, add_approval = (
        orchestrator_pb2_grpc.add_OrchestratorServicer_to_server,
        approval_pb2_grpc.add_ApprovalServicer_to_server,
    )
    async with AsyncExitStack() as stack:
        services = [(orchestrator, add, "interlock.v1.Orchestrator")]
        first = await stack.enter_async_context(
            running(ServerSpec("orchestrator", "127.0.0.1:0", services, TOKEN))
        )
        second = await stack.enter_async_context(
            running(
                ServerSpec(
                    "approval", "127.0.0.1:0", [(approvals, add_approval, "interlock.v1.Approval")], TOKEN
                )
            )
        )
        given = {"token": TOKEN, "retry": FAST, **options}
        client = Client(orchestrator=str(first), approval=str(second), **given)
        yield await stack.enter_async_context(client), orchestrator, approvals


async def test_a_mutation_is_repeated_as_the_same_request() -> None:
    async with connected() as (client, orchestrator, _):
        orchestrator.failures = [Reason.UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.LEASE_LOST]
        run = await client.create_run("goal", "ws-1")
        assert run.run_id == "run-1"
        ids = [request.request_id for request in orchestrator.seen]
        assert len(ids) == 4
        assert len(set(ids)) == 1
        await client.create_run("goal", "ws-1")
        await client.create_run("goal", "ws-1", request_id="mine")
        assert orchestrator.seen[-2].request_id not in ids
        assert orchestrator.seen[-1].request_id == "mine"


async def test_a_service_whose_database_is_away_is_there() -> None:
    """It is waited for as long as one that answered before, also by a client that has only just come."""
    async with connected(retry=Retry(unseen=0.0, first=0.001)) as (client, orchestrator, _):
        orchestrator.failures = [Reason.DATABASE_UNAVAILABLE] * 3
        assert (await client.create_run("goal", "ws-1")).run_id == "run-1"
        assert len(orchestrator.seen) == 4


async def test_tries_are_bounded_and_the_error_is_the_servers() -> None:
    async with connected() as (client, orchestrator, _):
        orchestrator.failures = [Reason.UNAVAILABLE] * 10
        with pytest.raises(InterlockError) as caught:
            await client.create_run("goal", "ws-1")
        assert (caught.value.reason, len(orchestrator.seen)) == (Reason.UNAVAILABLE, 4)


async def test_other_errors_are_not_repeated_and_arrive_whole() -> None:
    async with connected() as (client, orchestrator, _):
        orchestrator.failures = [Reason.RUN_WRONG_STATE]
        with pytest.raises(InterlockError) as caught:
            await client.create_run("goal", "ws-1")
        error = caught.value
        assert (error.reason, error.message, error.field) == (Reason.RUN_WRONG_STATE, "scripted", "goal")
        assert error.metadata["a"] == "b"
        assert error.fix
        assert len(orchestrator.seen) == 1


async def test_nobody_there_names_the_service() -> None:
    async with Client(orchestrator="127.0.0.1:1", token=TOKEN, retry=Retry(attempts=1)) as client:
        with pytest.raises(InterlockError, match=r"The orchestrator at .* cannot be reached") as caught:
            await client.get_run("run-1")
        assert caught.value.reason is Reason.UNAVAILABLE


async def test_a_wrong_token_is_refused() -> None:
    async with connected(token="another-token") as (client, _, _):
        with pytest.raises(InterlockError) as caught:
            await client.get_run("run-1")
        assert caught.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 100])
async def test_lists_take_as_many_pages_as_they_need(limit: int) -> None:
    async with connected() as (client, _, _):
        found = await client.list_runs(limit=limit)
        assert [run.run_id for run in found] == [f"run-{number}" for number in range(min(limit, 8))]


async def test_watching_sees_every_event_once_whatever_breaks() -> None:
    async with connected() as (client, orchestrator, _):
        orchestrator.events, orchestrator.breaks = 9, [2, 0, 3, 1]
        seen = [message.event.seq async for message in client.watch_run("run-1")]
        assert seen == list(range(1, 10))
        assert [request.cursor for request in orchestrator.seen] == ["", "2", "2", "5", "6"]


async def test_watching_outlives_an_orchestrator_that_drains() -> None:
    async with connected() as (client, orchestrator, _):
        orchestrator.final = False

        seen = []
        async for message in client.watch_run("run-1", heartbeats=True):
            seen.append(message)
            if len(seen) == 3:  # the stream ended twice while the run went on
                orchestrator.events = 1
        assert [message.event.seq for message in seen if message.HasField("event")] == [1]


async def test_a_run_that_ended_before_is_not_watched_for_ever() -> None:
    async with connected() as (client, _, _):
        assert [message async for message in client.watch_run("run-1")] == []


async def test_approvals_come_once_and_resolved_ones_do_not() -> None:
    async with connected() as (client, _, approvals):
        found = []
        async for approval in client.approvals(run_id="run-1"):
            found.append(approval.approval_id)
            if len(found) == 2:
                break
        assert found == ["apr-1", "apr-3"]
        assert [request.cursor for request in approvals.seen] == ["", "1"]
        assert all(request.with_preview and request.filter.run_id == "run-1" for request in approvals.seen)


async def test_a_decision_carries_what_was_seen() -> None:
    async with connected() as (client, _, approvals):
        record = ApprovalRecord(approval_id="apr-1", run_id="run-1", step=2, digest=DIGEST)
        await client.decide(record, "approve", "fine")
        await client.decide(record, "reject", "no", on_reject="replan", channel="chat")
        await client.decide(record, "skip")
        edit = StepInput()
        edit.read_file.path = "x"
        await client.decide(record, "edit", edit=edit)
        first, second, third, fourth = approvals.seen
        assert {request.decision.digest for request in approvals.seen} == {DIGEST}
        assert (first.approval_id, first.run_id, first.step) == ("apr-1", "run-1", 2)
        assert (first.decision.WhichOneof("verdict"), first.decision.channel) == ("approve", "sdk")
        assert second.decision.reject.action == 3
        assert second.decision.channel == "chat"
        assert third.decision.WhichOneof("verdict") == "skip"
        assert fourth.decision.edit.input.read_file.path == "x"


@pytest.mark.parametrize(
    ("verdict", "options"), [("maybe", {}), ("edit", {}), ("reject", {"on_reject": "explode"}), ("", {})]
)
async def test_incomplete_verdicts_are_refused_here(verdict: str, options: dict[str, str]) -> None:
    async with connected() as (client, _, approvals):
        with pytest.raises(InterlockError) as caught:
            await client.decide(ApprovalRecord(digest=DIGEST), verdict, **options)  # type: ignore[arg-type]
        assert caught.value.field == "verdict"
        assert approvals.seen == []
