"""A rollback that goes back over other runs: they say so themselves, together with the run that did it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import NONE, Stack, edit

from interlock.common.client import rpc_errors
from interlock.orchestrator.runs import transaction
from interlock.orchestrator.store.readers import events
from interlock.v1 import fork_pb2 as f
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2


async def call(stack: Stack, method: str, request: Any) -> Any:
    with rpc_errors("orchestrator"):
        return await getattr(stack.stub, method)(request)


async def done(stack: Stack, workspace: str, *names: str) -> str:
    run = await stack.run(workspace, *(edit(name, f"{name}\n", gate=NONE) for name in names))
    await stack.until(run, "COMPLETED")
    return run


async def rollback(stack: Stack, run: str, to_step: int = 0) -> o.RollbackRunResponse:
    request = o.RollbackRunRequest(run_id=run, to_step=to_step, discard_later_changes=True)
    return await call(stack, "RollbackRun", request)  # type: ignore[no-any-return]


async def get(stack: Stack, run: str) -> run_pb2.Run:
    return (await call(stack, "GetRun", o.GetRunRequest(run_id=run))).run  # type: ignore[no-any-return]


async def undone(stack: Stack, run: str) -> list[str]:
    return [step.undone.run_id or step.undone.by for step in (await get(stack, run)).steps]


def names(live: Path) -> list[str]:
    return sorted(path.name for path in live.iterdir())


async def test_the_runs_that_it_undoes_say_so_and_by_whom(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    before = await done(stack, workspace, "before")
    first = await done(stack, workspace, "a", "b")
    second = await done(stack, workspace, "c")
    third = await done(stack, workspace, "d", "e")
    answer = await rollback(stack, first, to_step=1)
    assert names(live) == ["a", "before"]
    assert await undone(stack, first) == ["", "rollback"]
    assert await undone(stack, second) == [first]
    assert await undone(stack, third) == [first, first]
    assert await undone(stack, before) == [""]
    database = stack.orchestrator.deps.database
    own = (await events.of_run(database, first))[-1]
    for run in (second, third):
        last = (await events.of_run(database, run))[-1]
        data = json.loads(last.canonical)["data"]
        assert (last.type, data["by_run"], data["head_tree"]) == ("run.overtaken", first, answer.head_tree)
        assert data["operation_id"] == json.loads(own.canonical)["data"]["operation_id"]
        assert (await get(stack, run)).head_tree == answer.head_tree
    listed = (await call(stack, "ListRuns", o.ListRunsRequest(workspace_id=workspace))).runs
    assert {run.run_id: run.steps_undone for run in listed} == {before: 0, first: 1, second: 1, third: 2}
    compared = await call(stack, "CompareRuns", f.CompareRunsRequest(run_a=before, run_b=second))
    assert f"of {first}" in next(d.b for d in compared.steps[0].differences if d.field == "undone")

    await call(stack, "RetryStep", o.RetryStepRequest(run_id=third, step=2))
    await call(stack, "ResumeRun", o.ResumeRunRequest(run_id=third))
    await stack.until(third, "COMPLETED")
    assert names(live) == ["a", "before", "e"]
    assert await undone(stack, third) == [first, ""]


async def test_going_forward_again_brings_them_back(stack: Stack, live: Path) -> None:
    workspace = await stack.executor.workspace(live)
    first = await done(stack, workspace, "a")
    second = await done(stack, workspace, "b")
    await rollback(stack, first)
    assert await undone(stack, second) == [first]
    await rollback(stack, second, to_step=1)
    assert names(live) == ["a", "b"]
    assert await undone(stack, second) == [""]
    assert await undone(stack, first) == [""], "its effect is in that tree"


async def test_it_is_written_with_the_rollback_or_not_at_all(
    stack: Stack, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is being written something else happens to the other run: both are decided again."""
    workspace = await stack.executor.workspace(live)
    first = await done(stack, workspace, "a")
    second = await done(stack, workspace, "b")
    deps, real, meddled = stack.orchestrator.deps, transaction.beside, []

    async def meddle(database: Any, book: Any, change: Any) -> Any:
        found = await real(database, book, change)
        if found and not meddled:
            meddled.append(change.run_id)
            stale = [(run, event) for run, event in found]
            await deps.transactions.change(second, lambda run, ctx: _noted(run))
            return stale
        return found

    monkeypatch.setattr(transaction, "beside", meddle)
    await rollback(stack, first)
    rows = {run: await events.of_run(deps.database, run) for run in (first, second)}
    assert meddled == [first]
    for run, kind in ((first, "run.rolled_back"), (second, "run.overtaken")):
        assert [row.type for row in rows[run]].count(kind) == 1
    assert rows[second][-1].position == rows[first][-1].position + 1, "one transaction"
    numbers = [row.position for row in await events.of_feed(deps.database)]
    assert numbers == list(range(1, len(numbers) + 1)), "what was withdrawn left no gap"


def _noted(run: Any) -> list[Any]:
    from interlock.orchestrator.domain import events as e
    from interlock.orchestrator.domain.model import ModelCall

    return [e.ModelCalled(ModelCall("note", "local", "tiny", "v1"))]
