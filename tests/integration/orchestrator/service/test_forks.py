"""ForkRun and CompareRuns through the real service on real PostgreSQL; the executor is scripted (a fake)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tests.support.orchestrator import (
    Running,
    command,
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
from tests.support.scripted_executor import BASE, Script, ScriptedExecutor

from interlock.common.errors import InterlockError, Reason
from interlock.common.status import error_from_rpc
from interlock.orchestrator.store.readers import others
from interlock.v1 import executor_pb2, run_pb2, workspace_pb2
from interlock.v1 import fork_pb2 as f
from interlock.v1 import orchestrator_pb2 as o


@dataclass
class Forking(ScriptedExecutor):
    """Answers CreateWorkspace as the real one: a request id names one workspace for ever."""

    script: Script
    made: dict[str, workspace_pb2.Workspace] = field(default_factory=dict)
    stuck: asyncio.Event | None = None

    async def CreateWorkspace(
        self, request: executor_pb2.CreateWorkspaceRequest, context: Any
    ) -> executor_pb2.CreateWorkspaceResponse:
        source = request.source.tree
        if source.path == "/refused":
            raise InterlockError(Reason.WORKSPACE_EXISTS, "There is one.", field="source")
        name = f"ws-fork-{len(self.made)}"
        made = workspace_pb2.Workspace(
            workspace_id=name, path=source.path, head_tree=source.tree, labels=request.labels
        )
        made = self.made.setdefault(request.request_id, made)
        self.script.heads.setdefault(made.workspace_id, source.tree)
        if self.stuck is not None:
            await self.stuck.wait()
        return executor_pb2.CreateWorkspaceResponse(workspace=made)


@dataclass
class World:
    """An orchestrator and what its executor does."""

    running: Running
    executor: Forking

    @property
    def stub(self) -> Any:
        return self.running.stub

    async def parent(self, **more: Any) -> run_pb2.Run:
        """A run of three steps, of which the first changed something and the second looked."""
        run = await create(self.stub, edit(), read(), command("true"), **more)
        for _ in range(2):
            await decide(self.stub, await pending(self.stub, run.run_id))
        return await until(self.stub, run.run_id, "COMPLETED")

    async def fork(self, run: run_pb2.Run, **options: Any) -> run_pb2.Run:
        return (await self.stub.ForkRun(f.ForkRunRequest(run_id=run.run_id, **options))).run  # type: ignore[no-any-return]


@asynccontextmanager
async def opened(database_url: str, executor: Forking) -> AsyncIterator[World]:
    async with executor_server(executor) as address, orchestrator(database_url, address) as running:
        yield World(running, executor)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with opened(database_url, Forking(Script())) as it:
        yield it


async def refused(call: Any) -> InterlockError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def all_runs(stub: Any) -> set[str]:
    return {run.run_id for run in (await stub.ListRuns(o.ListRunsRequest())).runs}


async def test_labels_of_a_fork_are_its_runs_alone(world: World) -> None:
    world.executor.script.labels["ws-prod"] = {"env": "prod"}
    parent = await world.parent(workspace_id="ws-prod")
    child = await world.fork(parent, at_step=2, labels={"env": "test", "try": "2"})
    assert dict(child.labels) == {"env": "test", "try": "2"}
    assert dict(child.workspace_labels) == {"env": "prod"} == dict(parent.workspace_labels)
    known = await others.workspace_labels(world.running.deps.database, child.workspace_id)
    assert known == {"env": "prod"}


async def test_a_fork_has_a_workspace_of_its_own_and_runs_on_it(world: World) -> None:
    parent = await world.parent()
    child = await world.fork(parent, at_step=2, workspace_path="/out", labels={"a": "b"})
    assert states(child) == ["SUCCEEDED", "SUCCEEDED", "PENDING"]
    assert (child.origin.run_id, child.origin.at_step) == (parent.run_id, 2)
    assert child.head_tree == child.origin.tree == parent.steps[1].head_tree != BASE
    row = await others.workspace(world.running.deps.database, child.workspace_id)
    assert (row.location, row.head_tree, row.holder_run) == ("/out", child.head_tree, None)
    await world.stub.StartRun(o.StartRunRequest(run_id=child.run_id))
    await decide(world.stub, await pending(world.stub, child.run_id))
    ended = await until(world.stub, child.run_id, "COMPLETED")
    assert states(ended) == ["SUCCEEDED"] * 3
    assert dict(ended.labels) == {"a": "b"}
    steps = {
        key[1] for kind, key in world.executor.script.calls if key[0] == child.run_id and kind == "prepare"
    }
    assert steps == {3}


async def test_a_repeated_request_gets_the_one_fork(world: World) -> None:
    parent = await world.parent()
    before = await all_runs(world.stub)
    asked = [world.fork(parent, at_step=1, request_id="r-1") for _ in range(5)]
    found = {run.run_id for run in await asyncio.gather(*asked)}
    assert len(found) == 1
    assert await all_runs(world.stub) - before == found
    assert len(world.executor.made) == 1
    again = await world.fork(parent, at_step=1, request_id="r-2")
    assert again.run_id not in found
    other = await refused(world.fork(parent, at_step=2, request_id="r-1"))
    assert other.reason is Reason.REQUEST_ID_REUSED


async def test_an_orchestrator_that_dies_between_workspace_and_run_is_taken_up_by_another(
    database_url: str,
) -> None:
    executor = Forking(Script())
    async with opened(database_url, executor) as world:
        parent = await world.parent()
        before = await all_runs(world.stub)
        executor.stuck = asyncio.Event()
        asking = asyncio.create_task(world.fork(parent, at_step=1, request_id="r"))
        async with asyncio.timeout(20):
            while not executor.made:  # noqa: ASYNC110 (another task makes it)
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await all_runs(world.stub) == before
        executor.stuck.set()
    executor.stuck = None
    async with opened(database_url, executor) as world:
        made = await world.fork(parent, at_step=1, request_id="r")
        assert [made.workspace_id] == [workspace.workspace_id for workspace in executor.made.values()]
        assert len(await all_runs(world.stub) - before) == 1


async def test_what_is_refused_makes_neither_workspace_nor_run(world: World) -> None:
    parent = await world.parent()
    before = await all_runs(world.stub)
    for options, reason in (
        ({"at_step": 4}, Reason.STEP_NOT_FOUND),
        ({"at_step": 3, "start": True}, Reason.RUN_EMPTY_PLAN),
        ({"labels": {f"k{n}": "" for n in range(51)}}, Reason.VALIDATION_FAILED),
        ({"workspace_path": "/refused"}, Reason.WORKSPACE_EXISTS),
    ):
        assert (await refused(world.fork(parent, **options))).reason is reason
    assert (await refused(world.fork(run_pb2.Run(run_id="run-0")))).reason is Reason.RUN_NOT_FOUND
    assert world.executor.made == {}
    assert await all_runs(world.stub) == before


async def test_a_run_that_never_touched_its_workspace_is_forked_at_its_head(world: World) -> None:
    run = await create(world.stub, read(), start=False)
    child = await world.fork(run, start=True)
    assert child.origin.tree == BASE
    assert states(await until(world.stub, child.run_id, "COMPLETED")) == ["SUCCEEDED"]


async def test_runs_are_compared(world: World) -> None:
    parent = await world.parent()
    child = await world.fork(parent, at_step=2, without_plan=True)
    await world.stub.AddSteps(o.AddStepsRequest(run_id=child.run_id, steps=[command("false"), read()]))
    found = await world.stub.CompareRuns(f.CompareRunsRequest(run_a=parent.run_id, run_b=child.run_id))
    assert [f.StepRelation.Name(row.relation).removeprefix("STEP_RELATION_") for row in found.steps] == [
        "SHARED",
        "SHARED",
        "DIFFERENT",
        "ONLY_B",
    ]
    assert (found.first_difference, found.common_steps, found.shared_steps) == (3, 2, 2)
    fields = {d.field: (d.a, d.b) for d in found.steps[2].differences}
    assert fields["input"] == ('{"command":"true"}', '{"command":"false"}')
    assert fields["decision"][0].startswith("approved by ")
    assert found.common_ancestor == parent.run_id
    siblings = await world.fork(parent, at_step=1)
    both = await world.stub.CompareRuns(f.CompareRunsRequest(run_a=child.run_id, run_b=siblings.run_id))
    assert (both.common_ancestor, both.shared_steps, both.first_difference) == (parent.run_id, 1, 2)
    unknown = f.CompareRunsRequest(run_a=parent.run_id, run_b="run-0")
    assert (await refused(world.stub.CompareRuns(unknown))).reason is Reason.RUN_NOT_FOUND
