"""What the orchestrator speaks for survives a collection, however old the executor thinks it is; the rest goes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.orchestrator import only_executor
from tests.support.stack import EFFECT, NONE, Stack, edit

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.collecting import Collection
from interlock.orchestrator.clients.collecting import collect as run_collection
from interlock.orchestrator.store.readers import others
from interlock.orchestrator.worker.collector import Collector
from interlock.v1 import executor_pb2 as x
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2, step_pb2

READ = step_pb2.StepSpec(input=step_pb2.StepInput(read_file=step_pb2.ReadFileInput(path="f")))
OLD = "2020-01-01T00:00:00.000000Z"


async def age_executor(stack: Stack) -> None:
    """Everything the executor has, except what is newest, seems years old to it."""
    await stack.executor.kill()
    make_old(stack)
    await stack.executor.start()


def make_old(stack: Stack) -> None:
    """Everything that has been entered was entered years ago."""
    for name, tables in (
        ("workspaces.db", ("heads", "snapshots", "publications")),
        ("effects.db", ("effects",)),
    ):
        with sqlite3.connect(stack.executor.state / name) as db:
            for table in tables:
                db.execute(f"UPDATE {table} SET at=?", (OLD,))
        db.close()
    with sqlite3.connect(stack.executor.state / "store" / "objects.db") as db:
        db.execute("UPDATE objects SET added=0")
    db.close()


async def age_run(stack: Stack, run_id: str) -> None:
    statement = text("UPDATE runs SET updated_at = now() - interval '40 days' WHERE id = :id RETURNING id")
    assert await stack.orchestrator.deps.database.write(statement.bindparams(id=run_id))


async def collect(stack: Stack, **more: Any) -> x.CollectGarbageResponse:
    with rpc_errors("orchestrator"):
        return (await stack.stub.CollectStorage(o.CollectStorageRequest(**more))).executor


async def trees_kept(stack: Stack) -> int:
    found = await stack.executor.stub.GetStorage(x.GetStorageRequest())
    return int(found.workspaces[0].trees_kept)


async def restore(stack: Stack, workspace: str, tree: str) -> None:
    request = x.RestoreTreeRequest(
        request_id=f"restore {tree}".replace(" ", "/"), workspace_id=workspace, tree=tree
    )
    with rpc_errors("executor"):
        await stack.executor.stub.RestoreTree(request)


async def finished(stack: Stack, workspace: str, *contents: str) -> run_pb2.Run:
    run = await stack.run(workspace, *(edit("f", content, gate=NONE) for content in contents))
    return await stack.until(run, "COMPLETED")


async def test_live_and_recent_runs_keep_their_trees_and_old_ones_do_not(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    old = await finished(stack, workspace, "old 1\n", "old 2\n", "old 3\n")
    recent = await finished(stack, workspace, "recent 1\n", "recent 2\n")
    waiting = await stack.run(workspace, edit("f", "waiting\n", gate=EFFECT))
    shown = await stack.pending(waiting)
    assert (await collect(stack)).trees_removed == 0  # the executor has heard of the orchestrator from now on
    await age_executor(stack)
    await age_run(stack, old.run_id)

    foreseen = await collect(stack, dry_run=True)
    assert (await collect(stack, dry_run=True)) == foreseen, "nothing went"
    done = await collect(stack)
    foreseen.dry_run = False
    assert done == foreseen
    # `old 3` is where the recent run began.
    assert (done.trees_removed, done.effects_removed) == (2, 3)
    assert done.objects_removed > 0
    assert done.bytes_freed > 0
    assert (await collect(stack)).objects_removed == 0

    approved = await stack.decide(shown)
    assert approved.state
    await stack.until(waiting, "COMPLETED")
    assert (live / "f").read_text() == "waiting\n"
    for run, content in ((recent.steps[0], "recent 1\n"), (recent.steps[1], "recent 2\n")):
        await restore(stack, workspace, run.effect.result_tree)
        assert (live / "f").read_text() == content
    await restore(stack, workspace, recent.steps[0].effect.base_tree)
    assert (live / "f").read_text() == "old 3\n"
    for step in old.steps[:2]:
        with pytest.raises(InterlockError) as caught:
            await restore(stack, workspace, step.effect.result_tree)
        assert caught.value.reason is Reason.TREE_NOT_FOUND
    assert (live / "f").read_text() == "old 3\n"
    await restore(
        stack, workspace, old.steps[0].effect.base_tree
    )  # the first tree of a workspace always stays
    assert not (live / "f").exists()


async def test_what_a_step_without_changes_left_goes_with_its_run(stack: Stack, live: Path) -> None:
    (live / "f").write_text("f\n")
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, READ, edit("f", "g\n", gate=NONE), READ)
    old = await stack.until(run, "COMPLETED")
    found = await stack.executor.stub.GetStorage(x.GetStorageRequest())
    assert found.workspaces[0].previews_pending == 0
    assert (
        await collect(stack)
    ).effects_removed == 0  # the executor has heard of the orchestrator from now on
    await age_executor(stack)
    assert (await collect(stack)).effects_removed == 0, "the run may be asked about for 30 days"
    await age_run(stack, old.run_id)
    assert (await collect(stack)).effects_removed == 3


async def test_a_recent_run_is_rolled_back_after_a_collection(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    recent = await finished(stack, workspace, "1\n", "2\n", "3\n")
    await age_executor(stack)
    assert (await collect(stack)).trees_removed == 0
    with rpc_errors("orchestrator"):
        await stack.stub.RollbackRun(o.RollbackRunRequest(run_id=recent.run_id, to_step=1))
    assert (live / "f").read_text() == "1\n"


async def test_a_step_of_a_live_run_can_be_reverted_after_a_collection(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    run = await stack.run(
        workspace, edit("a", "a\n", gate=NONE), edit("b", "b\n", gate=NONE), edit("c", "c\n", gate=EFFECT)
    )
    await stack.pending(run)
    await age_executor(stack)
    assert (await collect(stack)).trees_removed == 0
    with rpc_errors("orchestrator"):
        await stack.stub.CancelRun(o.CancelRunRequest(run_id=run))
        await stack.until(run, "CANCELLED")
        await stack.stub.RevertStep(o.RevertStepRequest(run_id=run, step=1))
    assert not (live / "a").exists()
    assert (live / "b").exists()


async def test_a_repeated_request_gets_the_first_answer(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    old = await finished(stack, workspace, "1\n", "2\n", "3\n")
    await age_executor(stack)
    await age_run(stack, old.run_id)
    first = await collect(stack, request_id="once")
    assert first.trees_removed == 2
    assert await collect(stack, request_id="once") == first
    with pytest.raises(InterlockError) as caught:
        await collect(stack, request_id="once", dry_run=True)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_stream_without_its_end_removes_nothing(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    await finished(stack, workspace, "1\n", "2\n", "3\n")
    await age_executor(stack)
    before = await stack.executor.stub.GetStorage(x.GetStorageRequest())
    with pytest.raises(InterlockError) as caught, rpc_errors("executor"):
        await stack.executor.stub.CollectGarbage(iter([x.CollectGarbageRequest(workspace_ids=[workspace])]))
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert (await stack.executor.stub.GetStorage(x.GetStorageRequest())).store_bytes == before.store_bytes


async def test_more_time_than_there_is_is_refused_by_both(stack: Stack) -> None:
    century = timedelta(days=36_500)
    assert (await collect(stack, retention=century)).trees_removed == 0
    with pytest.raises(InterlockError) as caught:
        await collect(stack, retention=timedelta(days=3_000_000))
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "retention")
    asked = x.CollectGarbageRequest(retention=timedelta(days=3_000_000), last=True)
    with pytest.raises(InterlockError) as caught, rpc_errors("executor"):
        await stack.executor.stub.CollectGarbage(iter([asked]), timeout=60)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "retention")


async def test_whatever_fails_while_runs_are_read_ends_the_collection(stack: Stack) -> None:
    """The date arithmetic of this retention is no error of the database's: it must not leave the caller waiting."""
    deps = stack.orchestrator.deps
    async with asyncio.timeout(60):
        with pytest.raises(InterlockError) as caught:
            await run_collection(deps.database, only_executor(deps), Collection(timedelta(days=3_000_000)))
    assert caught.value.reason in (Reason.INTERNAL, Reason.INVALID_ARGUMENT)
    assert (await collect(stack)).trees_removed == 0, "the next one is not refused"


async def test_what_happens_while_a_caller_is_still_naming_stays_however_old_it_seems(
    stack: Stack, live: Path
) -> None:
    """A machine that is suspended before the last message: everything is years old when it comes."""
    workspace = await stack.executor.workspace(live)
    go_on = asyncio.Event()

    async def messages() -> AsyncIterator[x.CollectGarbageRequest]:
        first = x.CollectGarbageRequest(workspace_ids=[workspace, *(f"ws-{n}" for n in range(5000))])
        first.retention.FromTimedelta(timedelta(0))
        yield first
        await go_on.wait()
        yield x.CollectGarbageRequest(last=True)

    call = stack.executor.stub.CollectGarbage(messages(), timeout=120)
    await call.initial_metadata()  # it has begun
    run = await finished(stack, workspace, "1\n", "2\n", "3\n")
    make_old(stack)
    go_on.set()
    with rpc_errors("executor"):
        done = await call
    assert (done.trees_removed, done.history_removed, done.effects_removed) == (0, 0, 0)
    with sqlite3.connect(stack.executor.state / "workspaces.db") as db:
        assert db.execute("SELECT workspace FROM named").fetchall() == [(workspace,)]
    db.close()
    for step, content in zip(run.steps, ("1\n", "2\n", "3\n"), strict=True):
        await restore(stack, workspace, step.effect.result_tree)
        assert (live / "f").read_text() == content


async def test_of_all_orchestrators_one_collects_when_it_is_due(stack: Stack) -> None:
    deps = stack.orchestrator.deps
    both = [
        Collector(deps.database, only_executor(deps), "here", interval=3600.0, retention=timedelta(days=30))
        for _ in range(2)
    ]
    assert sorted(await asyncio.gather(*(each.once() for each in both))) == [False, True]
    assert [await each.once() for each in both] == [False, False], "not due for an hour"
    over = "UPDATE drivers SET until = now() - interval '1 second' WHERE owner LIKE 'collector %' RETURNING owner"
    assert await deps.database.write(text(over))
    assert await both[1].once()
    assert await deps.database.write(text(over))
    await stack.executor.kill()
    assert not await both[0].once(), "the executor is away"
    assert not await both[1].once(), "for a little while nobody tries again"


async def test_it_happens_by_itself(stack: Stack, live: Path) -> None:
    deps = stack.orchestrator.deps
    workspace = await stack.executor.workspace(live)
    old = await finished(stack, workspace, "1\n", "2\n", "3\n")
    await age_executor(stack)
    await age_run(stack, old.run_id)
    request = "INSERT INTO requests VALUES ('M', 'old', 'f', 'r', now() - interval '31 days') RETURNING 1"
    await deps.database.write(text(request))
    collector = Collector(
        deps.database, only_executor(deps), "here", interval=3600.0, retention=timedelta(days=30), look=0.01
    )
    collector.start()
    try:
        async with asyncio.timeout(30):
            while await trees_kept(stack) > 2:  # noqa: ASYNC110 another process's state
                await asyncio.sleep(0.05)
    finally:
        await collector.close()
    assert await others.recorded(deps.database, "M", "old", b"f") is None
