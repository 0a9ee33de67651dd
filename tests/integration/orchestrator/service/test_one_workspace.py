"""Many runs on one workspace: one at a time, in the order in which they asked, whoever drives them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.support.orchestrator import (
    Running,
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

from interlock.common.errors import InterlockError, Reason
from interlock.common.status import error_from_rpc
from interlock.orchestrator.store.readers import events, others
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2

WS = "ws-shared"


async def refused(call: Any) -> InterlockError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def waiting(stub: Any, *steps: Any) -> run_pb2.Run:
    """A run that is to start when the workspace is free."""
    return await create(stub, *(steps or [read()]), workspace_id=WS, on_busy=o.ON_BUSY_WAIT)


async def get(stub: Any, run_id: str) -> run_pb2.Run:
    return (await stub.GetRun(o.GetRunRequest(run_id=run_id))).run


async def line_of(it: Running) -> list[str]:
    """Who waits, first come first."""
    rows = await it.deps.database.all(_LINE)
    return [row[0] for row in rows]


_LINE = others.select(others.waiters.c.run_id).order_by(others.waiters.c.number)


async def order(it: Running, types: tuple[str, ...]) -> list[tuple[str, str]]:
    """The journal's events of these types on all runs, in commit order."""
    rows = await events.of_feed(it.deps.database, 0, 10_000)
    return [(row.type, row.run_id) for row in rows if row.type in types]


async def test_a_second_run_is_refused_and_told_who_has_the_workspace(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        await pending(it.stub, holder.run_id)
        error = await refused(create(it.stub, read(), workspace_id=WS))
        assert error.reason is Reason.WORKSPACE_BUSY
        assert error.metadata["holder_run_id"] == holder.run_id
        assert holder.run_id in error.message
        assert "--wait-for-workspace" in error.fix
        planned = await create(it.stub, read(), workspace_id=WS, start=False)
        error = await refused(it.stub.StartRun(o.StartRunRequest(run_id=planned.run_id)))
        assert error.metadata["holder_run_id"] == holder.run_id
        assert error.fix == (
            f"Let {holder.run_id} end (`interlock run wait {holder.run_id}`), or cancel it: `interlock run cancel "
            f"{holder.run_id}`; or wait in line (`on_busy`: WAIT; `--wait-for-workspace`)."
        )


async def test_what_cannot_wait_in_line_is_not_told_to(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        done = await create(it.stub, edit(), workspace_id=WS)
        await decide(it.stub, await pending(it.stub, done.run_id))
        await until(it.stub, done.run_id, "COMPLETED")
        holder = await create(it.stub, edit(), workspace_id=WS)
        await pending(it.stub, holder.run_id)
        error = await refused(it.stub.RollbackRun(o.RollbackRunRequest(run_id=done.run_id)))
        assert error.reason is Reason.WORKSPACE_BUSY
        assert error.fix.endswith(f"or cancel it: `interlock run cancel {holder.run_id}`.")


async def test_a_run_waits_visibly_and_starts_when_it_is_its_turn(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        approval = await pending(it.stub, holder.run_id)
        first, second = await waiting(it.stub), await waiting(it.stub)
        seen = await get(it.stub, second.run_id)
        assert seen.state == run_pb2.RUN_STATE_PLANNED
        assert (seen.waiting.holder_run_id, seen.waiting.ahead) == (holder.run_id, 1)
        assert seen.waiting.since.seconds
        # Who does not wait comes after those who do, and is told so.
        await decide(it.stub, approval)
        for run in (holder, first, second):
            done = await until(it.stub, run.run_id, "COMPLETED")
            assert not done.HasField("waiting")
        assert await order(it, ("run.started",)) == [
            ("run.started", r.run_id) for r in (holder, first, second)
        ]
        assert await line_of(it) == []


@pytest.mark.parametrize("end", ["cancel", "fail", "reject"])
async def test_whatever_ends_the_holder_frees_the_workspace(database_url: str, end: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        approval = await pending(it.stub, holder.run_id)
        next_one = await waiting(it.stub)
        if end == "cancel":
            await it.stub.CancelRun(o.CancelRunRequest(run_id=holder.run_id))
        else:
            await decide(it.stub, approval, reject={})
        await until(it.stub, next_one.run_id, "COMPLETED")


async def test_a_paused_holder_keeps_it_until_it_is_cancelled(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        await pending(it.stub, holder.run_id)
        await it.stub.PauseRun(o.PauseRunRequest(run_id=holder.run_id))
        next_one = await waiting(it.stub)
        await it.stub.RollbackRun(o.RollbackRunRequest(run_id=holder.run_id))
        assert (await get(it.stub, next_one.run_id)).waiting.holder_run_id == holder.run_id
        await it.stub.CancelRun(o.CancelRunRequest(run_id=holder.run_id))
        await until(it.stub, next_one.run_id, "COMPLETED")


async def test_a_run_that_waits_can_be_cancelled_and_the_next_goes_on(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        approval = await pending(it.stub, holder.run_id)
        gone, stays = await waiting(it.stub), await waiting(it.stub)
        await it.stub.CancelRun(o.CancelRunRequest(run_id=gone.run_id))
        assert await line_of(it) == [stays.run_id]
        assert (await get(it.stub, stays.run_id)).waiting.ahead == 0
        await decide(it.stub, approval)
        await until(it.stub, stays.run_id, "COMPLETED")
        assert (await get(it.stub, gone.run_id)).state == run_pb2.RUN_STATE_CANCELLED


async def test_starting_again_keeps_the_place_in_line_and_planning_is_refused(database_url: str) -> None:
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        holder = await create(it.stub, edit(), workspace_id=WS)
        await pending(it.stub, holder.run_id)
        first, second = await waiting(it.stub), await waiting(it.stub)
        request = o.StartRunRequest(run_id=first.run_id, on_busy=o.ON_BUSY_WAIT)
        assert (await it.stub.StartRun(request)).run.HasField("waiting")
        assert await line_of(it) == [first.run_id, second.run_id]
        error = await refused(it.stub.PlanRun(o.PlanRunRequest(run_id=first.run_id)))
        assert error.metadata["busy"] == "waiting for its workspace"


async def test_the_line_survives_every_orchestrator(database_url: str) -> None:
    async with executor_server(ScriptedExecutor(Script())) as executor:
        async with orchestrator(database_url, executor) as first:
            holder = await create(first.stub, edit(), workspace_id=WS)
            approval = await pending(first.stub, holder.run_id)
            runs = [await waiting(first.stub) for _ in range(3)]
        async with orchestrator(database_url, executor) as second:
            assert (await get(second.stub, runs[2].run_id)).waiting.ahead == 2
            await decide(second.stub, approval)
            for run in runs:
                await until(second.stub, run.run_id, "COMPLETED")
            started = [run_id for _, run_id in await order(second, ("run.started",))]
    assert started == [holder.run_id, *(run.run_id for run in runs)]


async def test_twenty_runs_and_two_orchestrators(database_url: str) -> None:
    """Each alone, in the order in which they got in line, none lost, none twice: the journal says so."""
    script = Script()
    async with (
        executor_server(ScriptedExecutor(script)) as executor,
        orchestrator(database_url, executor) as one,
        orchestrator(database_url, executor) as two,
    ):
        stubs = [one.stub, two.stub] * 10
        runs = await asyncio.gather(*(waiting(stub, read(), read()) for stub in stubs))
        watchers = reversed(stubs)
        await asyncio.gather(*(until(s, r.run_id, "COMPLETED") for s, r in zip(watchers, runs, strict=True)))
        told = await order(one, ("run.waiting", "run.started", "run.completed"))
        assert await line_of(one) == []
    spans = [(kind, run_id) for kind, run_id in told if kind != "run.waiting"]
    ran = [run_id for kind, run_id in spans if kind == "run.started"]
    assert spans == [(kind, run_id) for run_id in ran for kind in ("run.started", "run.completed")], (
        "one by one"
    )
    assert sorted(ran) == sorted(run.run_id for run in runs), "each once"
    in_line = [run_id for kind, run_id in told if kind == "run.waiting"]
    assert [run_id for run_id in ran if run_id in set(in_line)] == in_line, "first come, first served"
    assert len(in_line) >= 15
