"""Two executor processes: any orchestrator finds a workspace where it lives; one that is lost stops its own alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.orchestrator import Running, orchestrator
from tests.support.stack import EFFECT, NONE, ExecutorProcess, Stack, command

from interlock.common.addresses import parse_address
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import fork_pb2 as f
from interlock.v1 import orchestrator_pb2 as o

ADD = "echo x >> f"


@dataclass
class Two:
    """Executors a and b with a workspace each, and two orchestrators that have both."""

    stacks: list[Stack]
    lives: list[Path]
    workspaces: list[str]
    orchestrators: list[Running]


@pytest.fixture
async def two(place: Path, database_url: str) -> AsyncIterator[Two]:
    async with AsyncExitStack() as opened:
        executors, lives = [], []
        for name in "ab":
            at, live = place / name, place / f"live-{name}"
            at.mkdir(mode=0o755)
            live.mkdir()
            executor = ExecutorProcess(at)
            opened.push_async_callback(executor.close)
            await executor.start()
            executors.append(executor)
            lives.append(live)
        first, second = [parse_address(each.address) for each in executors]
        # The second orchestrator has them in the other order.
        left = await opened.enter_async_context(orchestrator(database_url, first, more_executors=(second,)))
        right = await opened.enter_async_context(orchestrator(database_url, second, more_executors=(first,)))
        stacks = [Stack(left, executors[0]), Stack(right, executors[1])]
        workspaces = [await ex.workspace(live) for ex, live in zip(executors, lives, strict=True)]
        yield Two(stacks, lives, workspaces, [left, right])


async def test_runs_are_carried_out_where_their_workspaces_live(two: Two) -> None:
    a, b = two.stacks
    # Each orchestrator is asked about the other's first executor.
    runs = [await b.run(two.workspaces[0], command(ADD, gate=EFFECT), command("cat f", gate=NONE))]
    runs.append(await a.run(two.workspaces[1], command(ADD, gate=EFFECT), command("cat f", gate=NONE)))
    for stack, run in zip((a, b), runs, strict=True):
        await stack.decide(await stack.pending(run))
    for number, run in enumerate(runs):
        ended = await two.stacks[number].until(run, "COMPLETED")
        assert ended.head_tree == await two.stacks[number].executor.head(two.workspaces[number])
        assert (two.lives[number] / "f").read_text() == "x\n"

    with rpc_errors("orchestrator"):
        forked = (await a.stub.ForkRun(f.ForkRunRequest(run_id=runs[1], at_step=2))).run
    assert await b.executor.head(forked.workspace_id)

    with rpc_errors("orchestrator"):
        await a.stub.CollectStorage(o.CollectStorageRequest(dry_run=True))
        # A removal that is repeated at another orchestrator gets the first answer.
        gone = o.RemoveWorkspaceRequest(workspace_id=two.workspaces[1], request_id="gone-1")
        assert await b.stub.RemoveWorkspace(gone) == await a.stub.RemoveWorkspace(gone)


async def test_a_lost_executor_stops_its_own_runs_alone_and_each_step_is_done_once(two: Two) -> None:
    a, b = two.stacks
    lost = await a.run(two.workspaces[0], command(ADD, gate=EFFECT))
    shown = await a.pending(lost)
    await a.executor.kill()
    await a.decide(shown)
    well = await a.run(two.workspaces[1], command(ADD, gate=NONE))
    await a.until(well, "COMPLETED")

    with pytest.raises(InterlockError) as raised, rpc_errors("orchestrator"):
        await a.stub.CreateRun(o.CreateRunRequest(goal="x", workspace_id="ws-nowhere"))
    assert raised.value.reason is Reason.UNAVAILABLE
    assert a.executor.address in str(raised.value)

    await a.executor.start()
    ended = await b.until(lost, "COMPLETED")
    assert ended.head_tree == await a.executor.head(two.workspaces[0])
    assert [(live / "f").read_text() for live in two.lives] == ["x\n", "x\n"]

    with pytest.raises(InterlockError) as raised, rpc_errors("orchestrator"):
        await a.stub.CreateRun(o.CreateRunRequest(goal="x", workspace_id="ws-nowhere"))
    assert raised.value.reason is Reason.WORKSPACE_NOT_FOUND
