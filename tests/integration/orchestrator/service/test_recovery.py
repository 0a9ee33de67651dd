"""What survives the end of an orchestrator: it is stopped in the middle and another one goes on."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest
from tests.support.orchestrator import (
    create,
    decide,
    edit,
    executor_server,
    orchestrator,
    pending,
    read,
    states,
    until,
)
from tests.support.scripted_executor import Key, Script, ScriptedExecutor

from interlock.common.client import error_from_rpc
from interlock.common.errors import InterlockError, Reason
from interlock.common.paging import encode_cursor
from interlock.orchestrator.store.readers import events
from interlock.v1 import orchestrator_pb2 as o


async def test_a_step_under_way_is_not_lost_and_the_run_does_not_end_completed(database_url: str) -> None:
    script = Script(hold={"prepare": asyncio.Event()})
    async with executor_server(ScriptedExecutor(script)) as executor:
        async with orchestrator(database_url, executor) as first:
            run = await create(first.stub, read(), read())
            async for told in first.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id)):
                if told.event.type == "step.started":
                    break
        script.hold.clear()
        async with orchestrator(database_url, executor) as second:
            assert states(await until(second.stub, run.run_id, "COMPLETED")) == ["SUCCEEDED", "SUCCEEDED"]
            rows = await events.of_run(second.deps.database, run.run_id)
    kinds = Counter((row.type, row.step) for row in rows)
    assert kinds["step.started", 1] == kinds["step.succeeded", 1] == 1


async def test_a_pending_approval_survives_and_what_it_showed_is_published(database_url: str) -> None:
    script = Script()
    async with executor_server(ScriptedExecutor(script)) as executor:
        async with orchestrator(database_url, executor) as first:
            run = await create(first.stub, edit())
            approval = await pending(first.stub, run.run_id)
        async with orchestrator(database_url, executor) as second:
            shown = await pending(second.stub, run.run_id)
            assert shown == approval
            await decide(second.stub, shown)
            await until(second.stub, run.run_id, "COMPLETED")
    assert script.count("prepare") == 1


async def test_an_intent_that_was_recorded_is_carried_out_once(database_url: str) -> None:
    """Stopped between `step.applying` and its result: the executor answers the repeated call from its record."""
    script = Script(hold={"apply": asyncio.Event()})
    async with executor_server(ScriptedExecutor(script)) as executor:
        async with orchestrator(database_url, executor) as first:
            run = await create(first.stub, edit())
            await decide(first.stub, await pending(first.stub, run.run_id))
            while not script.count("apply"):  # noqa: ASYNC110 (the fake has no event for it)
                await asyncio.sleep(0)
        script.hold.clear()
        async with orchestrator(database_url, executor) as second:
            await until(second.stub, run.run_id, "COMPLETED")
    assert set(script.applied) == {(run.run_id, 1, 1)}


async def test_an_executor_that_is_away_is_waited_for(database_url: str) -> None:
    script = Script()
    away = InterlockError(Reason.UNAVAILABLE, "Away.")
    tries = iter([away, away, away])
    script.errors = lambda kind, key: next(tries, None)
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, read())
        await until(it.stub, run.run_id, "COMPLETED")
    assert script.count("prepare") == 4


async def test_two_orchestrators_share_runs_and_no_step_runs_twice(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as one,
        orchestrator(database_url, executor) as two,
    ):
        runs = [await create(stub, *[read()] * 5) for stub in (one.stub, two.stub) for _ in range(5)]
        # Each run is watched through the orchestrator that does not drive it.
        watchers = [two.stub] * 5 + [one.stub] * 5
        await asyncio.gather(*(until(s, r.run_id, "COMPLETED") for s, r in zip(watchers, runs, strict=True)))
    assert max(Counter(key for kind, key in script.calls if kind == "prepare").values()) == 1


async def test_a_decision_made_through_another_orchestrator_reaches_the_driver(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as one,
        orchestrator(database_url, executor) as two,
    ):
        run = await create(one.stub, edit(), edit())
        await decide(two.stub, await pending(two.stub, run.run_id))
        await decide(one.stub, await pending(one.stub, run.run_id))
        await until(two.stub, run.run_id, "COMPLETED")


async def test_a_watcher_resumes_by_cursor_without_gap_or_duplicate(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, *[read()] * 5)
        await until(it.stub, run.run_id, "COMPLETED")
        whole = [told async for told in it.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id))]
        for cut in range(len(whole)):
            request = o.WatchRunRequest(run_id=run.run_id, cursor=whole[cut].cursor)
            rest = [told async for told in it.stub.WatchRun(request)]
            assert [m.event.seq for m in whole[: cut + 1] + rest] == [m.event.seq for m in whole]


async def test_a_cursor_ahead_of_its_run_is_refused(database_url: str) -> None:
    """As after a database was restored from a backup: silence would be a gap that nobody is told of."""
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, read())
        await until(it.stub, run.run_id, "COMPLETED")
        for seq in (1_000_000, -1):
            cursor = encode_cursor(f"WatchRun/{run.run_id}", {"seq": seq})
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in it.stub.WatchRun(o.WatchRunRequest(run_id=run.run_id, cursor=cursor)):
                    pass
            assert error_from_rpc(caught.value).reason is Reason.CURSOR_INVALID


async def test_the_approval_feed_resumes_by_cursor_without_gap_or_duplicate(database_url: str) -> None:
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        for _ in range(3):
            run = await create(it.stub, edit(), edit())
            for _ in range(2):
                await decide(it.stub, await pending(it.stub, run.run_id))
            await until(it.stub, run.run_id, "COMPLETED")
        start = await _frames(it.stub, "", lambda frames: frames[-1].caught_up)
        run = await create(it.stub, edit())
        approval = await pending(it.stub, run.run_id)
        await decide(it.stub, approval)
        seen = await _frames(it.stub, start[-1].cursor, lambda frames: len(_changes(frames)) == 3)
        assert [approval_id for approval_id, _ in _changes(seen)] == [approval.approval_id] * 3
        again = await _frames(it.stub, start[-1].cursor, lambda frames: len(_changes(frames)) == 3)
        assert _changes(again) == _changes(seen)
        run = await create(it.stub, edit())
        later = await pending(it.stub, run.run_id)
        rest = await _frames(it.stub, seen[-1].cursor, lambda frames: bool(_changes(frames)))
        assert [approval_id for approval_id, _ in _changes(rest)] == [later.approval_id]


async def _frames(stub, cursor, enough):  # type: ignore[no-untyped-def]
    frames = []
    call = stub.WatchApprovals(o.WatchApprovalsRequest(cursor=cursor))
    async for frame in call:
        frames.append(frame)
        if enough(frames):
            call.cancel()
            return frames
    raise AssertionError("the feed ended")


def _changes(frames: list[o.WatchApprovalsResponse]) -> list[tuple[str, int]]:
    return [(event.approval.approval_id, event.kind) for frame in frames for event in frame.events]


async def test_a_database_older_than_its_executor_catches_up(database_url: str) -> None:
    """A restored backup: the executor has seen higher epochs than the database knows."""
    script = Script()
    newest = 4

    def stale(kind: str, key: Key) -> InterlockError | None:
        nonlocal newest
        newest -= 1
        return InterlockError(Reason.EPOCH_STALE, "A newer driver was here.") if newest > 0 else None

    script.errors = stale
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, read())
        await until(it.stub, run.run_id, "COMPLETED")


async def test_a_decision_is_the_callers_whatever_it_says(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        run = await create(it.stub, edit())
        approval = await pending(it.stub, run.run_id)
        decision = {"approve": {}, "digest": approval.digest, "subject": "somebody@else"}
        request = o.RecordDecisionRequest(approval_id=approval.approval_id, decision=decision)
        answered = (await it.stub.RecordDecision(request)).approval
        assert answered.decision.subject == "local"
