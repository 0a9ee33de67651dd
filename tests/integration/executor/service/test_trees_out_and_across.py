"""ExportTree, TreeSource and DiffTrees between workspaces, on a real executor process."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import export_pb2 as xp
from interlock.v1 import workspace_pb2

MANY = 20
MIB = 1 << 20


def asked(workspace: str, tree: str, format_: int = xp.EXPORT_FORMAT_TAR, count: int = 1) -> Any:
    item = xp.ExportItem(workspace_id=workspace, tree=tree, message="m\n")
    return xp.ExportTreeRequest(format=format_, items=[item] * count)  # type: ignore[arg-type]


def forked(workspace: str, tree: str, path: Path | str, request_id: str = "") -> pb.CreateWorkspaceRequest:
    source = workspace_pb2.TreeSource(workspace_id=workspace, tree=tree, path=str(path))
    return pb.CreateWorkspaceRequest(request_id=request_id, source=workspace_pb2.WorkspaceSource(tree=source))


async def exported(executor: Any, request: Any) -> list[xp.ExportTreeResponse]:
    with rpc_errors("executor"):
        return [message async for message in executor.stub.ExportTree(request)]


async def test_a_tree_comes_as_a_tar_archive(executor: Any) -> None:
    ws = await executor.workspace(**{"d/b": "b" * 600_000})
    messages = await exported(executor, asked(ws, await executor.head(ws)))
    assert [message.complete for message in messages] == [False] * (len(messages) - 1) + [True]
    assert max(len(message.data) for message in messages) <= 256 * 1024
    data = b"".join(message.data for message in messages)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["a.txt", "d", "d/b"]


async def test_what_cannot_be_exported(executor: Any) -> None:
    ws = await executor.workspace()
    head = await executor.head(ws)
    nowhere = "sha256:" + "1" * 64
    for request, reason in (
        (asked(ws, nowhere), Reason.TREE_NOT_FOUND),
        (asked("ws-00000000000000000000000000", head), Reason.WORKSPACE_NOT_FOUND),
        (asked(ws, head, count=2), Reason.INVALID_ARGUMENT),
        (asked(ws, head, count=0), Reason.VALIDATION_FAILED),
        (asked(ws, head, xp.EXPORT_FORMAT_UNSPECIFIED), Reason.VALIDATION_FAILED),
        (asked(ws, "rubbish"), Reason.VALIDATION_FAILED),
    ):
        with pytest.raises(InterlockError) as caught:
            await exported(executor, request)
        assert caught.value.reason is reason


async def test_readers_that_are_slow_or_go_away_cost_nothing(lone: Any) -> None:
    """Each asks for much more than is ever in flight; none of it is read ahead."""
    lone.live.mkdir()
    for number in range(4):
        (lone.live / f"big{number}").write_bytes(os.urandom(8 * MIB))
    ws = await lone.workspace()
    head = await lone.head(ws)
    process = psutil.Process(lone.child.process.pid)
    before = process.memory_info().rss
    calls = [lone.stub.ExportTree(asked(ws, head)) for _ in range(MANY)]
    for call in calls:
        assert (await call.read()).data  # the rest of 32 MiB is not taken
    assert process.memory_info().rss - before < 200 * MIB
    assert (await lone.prepare(ws, _read())).state == pb.EFFECT_STATE_PREPARED
    for call in calls:
        call.cancel()
    async with asyncio.timeout(60):
        while _open_objects(process):  # noqa: ASYNC110 (another process closes them)
            await asyncio.sleep(0.02)
    whole = await exported(lone, asked(ws, head))
    assert sum(len(message.data) for message in whole) > 32 * MIB


def _read() -> pb.Action:
    from interlock.v1 import step_pb2

    return pb.Action(read_file=step_pb2.ReadFileInput(path="a.txt"))


def _open_objects(process: psutil.Process) -> list[str]:
    return [file.path for file in process.open_files() if "/store/big/" in file.path]


async def test_a_fork_is_made_once_however_often_it_is_asked_for(executor: Any, place: Path) -> None:
    ws = await executor.workspace()
    request = forked(ws, await executor.head(ws), place / "out", f"r{place.name}")
    first, second = await asyncio.gather(*(executor.call("CreateWorkspace", request) for _ in range(2)))
    assert first == second
    assert (await executor.call("CreateWorkspace", request)) == first
    assert first.workspace.source.tree.workspace_id == ws
    assert (place / "out" / "a.txt").read_text() == "one\ntwo\nthree\n"
    request.source.tree.path = str(place / "elsewhere")
    with pytest.raises(InterlockError) as caught:
        await executor.call("CreateWorkspace", request)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.2])
async def test_an_executor_killed_while_it_forks_makes_the_one_when_asked_again(
    lone: Any, place: Path, delay: float
) -> None:
    ws = await lone.workspace(**{f"many/{n}": str(n) for n in range(1500)})
    request = forked(ws, await lone.head(ws), place / "out", "fork-1")
    asking = asyncio.create_task(lone.call("CreateWorkspace", request))
    await asyncio.sleep(delay)  # where it is cut is left to chance; what must hold afterwards is not
    await lone.kill()
    await asyncio.gather(asking, return_exceptions=True)
    await lone.start()
    made = (await lone.call("CreateWorkspace", request)).workspace
    assert (await lone.call("CreateWorkspace", request)).workspace == made
    listed = (await lone.call("ListWorkspaces", pb.ListWorkspacesRequest())).workspaces
    assert sorted(found.workspace_id for found in listed) == sorted([ws, made.workspace_id])
    assert made.head_tree == await lone.head(ws)
    assert {path.read_text() for path in (place / "out" / "many").iterdir()} == {str(n) for n in range(1500)}
    assert [name for name in os.listdir(place) if name.startswith(".interlock")] == []


async def test_trees_of_two_workspaces_are_compared(executor: Any, act: Any, place: Path) -> None:
    ws = await executor.workspace()
    base = await executor.head(ws)
    other = (await executor.call("CreateWorkspace", forked(ws, base, place / "out"))).workspace.workspace_id
    await executor.apply(await executor.prepare(other, act.edit("new.txt", new_content="new\n")))
    request = pb.DiffTreesRequest(
        workspace_id=ws, from_tree=base, to_tree=await executor.head(other), to_workspace_id=other
    )
    diff = await executor.call("DiffTrees", request)
    assert [change.path for change in diff.changes] == ["new.txt"]
    request.ClearField("to_tree")
    assert (await executor.call("DiffTrees", request)).diff == diff.diff
    request.to_workspace_id, request.to_tree = "", diff.to_tree
    with pytest.raises(InterlockError) as caught:
        await executor.call("DiffTrees", request)
    assert caught.value.reason is Reason.TREE_NOT_FOUND


async def test_an_effect_that_waits_to_be_approved_is_not_forked(
    executor: Any, act: Any, place: Path
) -> None:
    """It is in the store, but a directory of its content would be the effect, carried out unasked."""
    ws = await executor.workspace()
    waiting = await executor.prepare(ws, act.edit("new.txt", new_content="new\n"))
    with pytest.raises(InterlockError) as caught:
        await executor.call("CreateWorkspace", forked(ws, waiting.effect.result_tree, place / "out"))
    assert caught.value.reason is Reason.TREE_NOT_FOUND

    assert not (place / "out").exists()
    await executor.apply(waiting)
    await executor.call("CreateWorkspace", forked(ws, waiting.effect.result_tree, place / "out"))
    assert (place / "out" / "new.txt").read_text() == "new\n"
