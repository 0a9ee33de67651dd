"""What the orchestrator's feed tells of an approval's whole life, and how far back it reaches."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.orchestrator import (
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    read,
    until,
)
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import decision_pb2 as d
from interlock.v1 import orchestrator_pb2 as o

Told = list[tuple[str, str, str]]


async def follow(stub: Any, cursor: str, last: str) -> tuple[Told, str]:
    """Kind, approval and its state of each event after a cursor, up to the first of a kind; and the cursor there."""
    told: Told = []
    call = stub.WatchApprovals(o.WatchApprovalsRequest(cursor=cursor))
    with rpc_errors():
        async for frame in call:
            for event in frame.events:
                await _head_is_told(stub, event)
                kind = d.ApprovalEventKind.Name(event.kind).removeprefix("APPROVAL_EVENT_KIND_")
                state = d.ApprovalState.Name(event.approval.state).removeprefix("APPROVAL_STATE_")
                told.append((kind, event.approval.approval_id, state))
            if any(kind == last for kind, _, _ in told) or (frame.caught_up and last == "CAUGHT_UP"):
                call.cancel()
                return told, frame.cursor
    raise AssertionError("the feed ended")


async def _head_is_told(stub: Any, event: d.ApprovalEvent) -> None:
    """Every message says which event of the run's chain it is about, and that one's digest."""
    asked = o.ListEventsRequest(run_id=event.approval.run_id, after_seq=event.run_seq - 1, page_size=1)
    (known,) = (await stub.ListEvents(asked)).events
    assert (known.seq, known.digest) == (event.run_seq, event.run_head)
    if event.kind != d.APPROVAL_EVENT_KIND_PENDING:
        assert known.position == event.position


async def test_from_the_question_to_what_was_published(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        _, start = await follow(it.stub, "", "CAUGHT_UP")
        run = await create(it.stub, read(), edit())
        first = await pending(it.stub, run.run_id)
        await decide(it.stub, first, edit=d.Edit(input=edit("other\n").input))
        second = await _next(it.stub, run.run_id, first.approval_id)
        await decide(it.stub, second)
        told, _ = await follow(it.stub, start, "APPLIED")
        assert told == [
            ("REQUESTED", first.approval_id, "PENDING"),
            ("RESOLVED", first.approval_id, "EDITED"),
            ("REQUESTED", second.approval_id, "PENDING"),
            ("RESOLVED", second.approval_id, "APPROVED"),
            ("APPLIED", second.approval_id, "APPROVED"),
        ]


async def test_a_step_that_nobody_was_asked_about_is_not_told_as_applied(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        _, start = await follow(it.stub, "", "CAUGHT_UP")
        run = await create(it.stub, read(), read(), edit())
        approval = await pending(it.stub, run.run_id)
        told, _ = await follow(it.stub, start, "REQUESTED")
        assert told == [("REQUESTED", approval.approval_id, "PENDING")]


async def _next(stub: Any, run_id: str, before: str) -> d.ApprovalRecord:
    """The run's open approval that is not this one."""
    while (found := await pending(stub, run_id)).approval_id == before:
        await until(stub, run_id, "RUNNING", "AWAITING_APPROVAL")
    return found


@pytest.mark.parametrize(
    ("reach", "kept"),
    [({}, True), ({"feed_events": 5}, False), ({"feed_hours": 0.0}, False)],
    ids=["within", "too many events", "too long ago"],
)
async def test_a_cursor_is_kept_for_so_long_and_so_many_events(
    database_url: str, reach: dict[str, Any], kept: bool
) -> None:
    async with executor_server(ScriptedExecutor(Script())) as executor:
        async with orchestrator(database_url, executor) as before:
            _, start = await follow(before.stub, "", "CAUGHT_UP")
            run = await create(before.stub, read(), edit())
            approval = await pending(before.stub, run.run_id)
        async with orchestrator(database_url, executor, **reach) as it:
            if kept:
                told, _ = await follow(it.stub, start, "REQUESTED")
                assert [each[1] for each in told] == [approval.approval_id]
                return
            with pytest.raises(InterlockError) as caught:
                await follow(it.stub, start, "REQUESTED")
            assert caught.value.reason is Reason.CURSOR_EXPIRED
            assert "without a cursor" in caught.value.fix
            # Where nothing was missed there is nothing to keep.
            told, now = await follow(it.stub, "", "CAUGHT_UP")
            assert [each[:2] for each in told] == [("PENDING", approval.approval_id)]
            assert await follow(it.stub, now, "CAUGHT_UP") == ([], now)


def test_the_defaults_are_a_week_and_a_million() -> None:
    from interlock.orchestrator.store.feed import Reach

    assert Reach() == Reach(timedelta(days=7), 1_000_000)
