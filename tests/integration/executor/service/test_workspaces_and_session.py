"""Workspaces through the service: create, list, read, diff, restore; and the batched session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.status import from_status
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import workspace_pb2

BOTH_FORKS = True


async def refused(call: Any, reason: Reason) -> None:
    with pytest.raises(InterlockError) as caught:
        await call
    assert caught.value.reason is reason


def source(path: Any) -> workspace_pb2.WorkspaceSource:
    return workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(path)))


async def test_create_is_idempotent_by_request_id(executor: Any) -> None:
    executor.live.mkdir()
    name = f"make-{executor.run}"
    request = pb.CreateWorkspaceRequest(request_id=name, source=source(executor.live), labels={"team": "a"})
    first = await executor.call("CreateWorkspace", request)
    assert await executor.call("CreateWorkspace", request) == first
    found = (
        await executor.call("GetWorkspace", pb.GetWorkspaceRequest(workspace_id=first.workspace.workspace_id))
    ).workspace
    assert (found.source, dict(found.labels), found.path) == (
        source(executor.live),
        {"team": "a"},
        str(executor.live),
    )
    request.labels["team"] = "b"
    await refused(executor.call("CreateWorkspace", request), Reason.REQUEST_ID_REUSED)
    other = pb.CreateWorkspaceRequest(source=source(executor.live))
    await refused(executor.call("CreateWorkspace", other), Reason.WORKSPACE_EXISTS)


async def test_a_source_that_is_not_there(executor: Any) -> None:
    request = pb.CreateWorkspaceRequest(
        request_id=f"bad-{executor.run}", source=source(executor.place / "none")
    )
    await refused(executor.call("CreateWorkspace", request), Reason.WORKSPACE_SOURCE_INVALID)
    (executor.place / "none").mkdir()
    assert (await executor.call("CreateWorkspace", request)).workspace.workspace_id
    relative = pb.CreateWorkspaceRequest(source=source("relative/path"))
    await refused(executor.call("CreateWorkspace", relative), Reason.WORKSPACE_SOURCE_INVALID)


async def test_listing_reading_and_diffing(executor: Any, act: Any) -> None:
    ws = await executor.workspace(**{"d/b.txt": "bee\n"})
    listing = await executor.call("ListFiles", pb.ListFilesRequest(workspace_id=ws, page_size=2))
    assert [entry.path for entry in listing.entries] == ["a.txt", "d"]
    rest = pb.ListFilesRequest(workspace_id=ws, page_size=2, page_token=listing.next_page_token)
    answer = await executor.call("ListFiles", rest)
    assert ([entry.path for entry in answer.entries], answer.next_page_token) == (["d/b.txt"], "")
    read = pb.ReadFileRequest(workspace_id=ws, path="d/b.txt", offset=1, limit=2)
    assert (await executor.call("ReadFile", read)).data == b"ee"
    before = await executor.head(ws)
    await executor.apply(await executor.prepare(ws, act.command("echo new > c.txt; rm a.txt")))
    diff = await executor.call("DiffTrees", pb.DiffTreesRequest(workspace_id=ws))
    assert (diff.from_tree, {change.path for change in diff.changes}) == (before, {"a.txt", "c.txt"})
    assert "+new" in diff.diff
    bad = pb.ListFilesRequest(workspace_id=ws, page_token="AAAA")
    await refused(executor.call("ListFiles", bad), Reason.PAGE_TOKEN_INVALID)


async def test_snapshots_and_restore(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    first = await executor.head(ws)
    for step in (1, 2):
        await executor.apply(
            await executor.prepare(ws, act.command(f"echo {step} > s{step}"), step=step), step=step
        )
    page = await executor.call("ListSnapshots", pb.ListSnapshotsRequest(workspace_id=ws, page_size=2))
    assert [(item.cause, item.run_id, item.step) for item in page.snapshots] == [
        ("publish", executor.run, 2), ("publish", executor.run, 1),
    ]  # fmt: skip
    more = pb.ListSnapshotsRequest(workspace_id=ws, page_token=page.next_page_token)
    assert [item.tree for item in (await executor.call("ListSnapshots", more)).snapshots] == [first]
    request = pb.RestoreTreeRequest(request_id=f"undo-{executor.run}", workspace_id=ws, tree=first)
    answer = await executor.call("RestoreTree", request)
    assert (answer.head_tree, answer.previous_tree) == (first, page.snapshots[0].tree)
    assert sorted(path.name for path in executor.live.iterdir()) == ["a.txt"]
    await executor.apply(await executor.prepare(ws, act.command("echo 3 > s3"), step=3), step=3)
    assert await executor.call("RestoreTree", request) == answer
    assert (executor.live / "s3").exists()
    request.request_id += "-other"
    request.expected_head = first
    await refused(executor.call("RestoreTree", request), Reason.WORKSPACE_HEAD_MOVED)
    unknown = pb.RestoreTreeRequest(request_id="x" + executor.run, workspace_id=ws, tree="sha256:" + "0" * 64)
    await refused(executor.call("RestoreTree", unknown), Reason.TREE_NOT_FOUND)


async def test_list_workspaces_pages(executor: Any) -> None:
    ws = await executor.workspace()
    seen, token = [], ""
    while True:
        page = await executor.call("ListWorkspaces", pb.ListWorkspacesRequest(page_size=1, page_token=token))
        seen += [item.workspace_id for item in page.workspaces]
        token = page.next_page_token
        if not token:
            break
    assert ws in seen
    assert seen == sorted(set(seen))


async def test_info(executor: Any) -> None:
    info = await executor.call("GetExecutorInfo", pb.GetExecutorInfoRequest())
    assert info.sandbox.backend == "bubblewrap"
    assert {probe.name: probe.available for probe in info.probes}["step"]
    assert info.default_limits.memory_bytes < info.maximum_limits.memory_bytes


async def test_a_session_carries_many_calls(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    items = [
        pb.SessionItem(
            id=step,
            prepare=pb.PrepareRequest(
                key=executor.key(step), workspace_id=ws, action=act.edit(f"f{step}", new_content="x")
            ),
        )
        for step in range(1, 41)
    ]
    items.append(pb.SessionItem(id=99, discard=pb.DiscardRequest(key=executor.key(99))))
    unknown = pb.PrepareRequest(key=executor.key(98), workspace_id="ws-none", action=act.read("a"))
    items.append(pb.SessionItem(id=98, prepare=unknown))

    async def frames() -> Any:
        for at in range(0, len(items), 10):
            yield pb.SessionRequest(items=items[at : at + 10])

    results, count = {}, 0
    async for frame in executor.stub.Session(frames()):
        count += 1
        results |= {result.id: result for result in frame.results}
    assert results.keys() == {*range(1, 41), 98, 99}
    assert all(results[step].prepare.state == pb.EFFECT_STATE_PREPARED for step in range(1, 41))
    assert results[99].discard.state == pb.EFFECT_STATE_DISCARDED
    error = from_status(results[98].error)
    assert error is not None
    assert error.reason is Reason.WORKSPACE_NOT_FOUND
    assert count <= len(items)


async def test_a_session_that_breaks_leaves_its_steps_running(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    action = act.command("sleep 0.5; cat /proc/sys/kernel/random/uuid")
    prepare = pb.PrepareRequest(key=executor.key(), workspace_id=ws, action=action)
    session = executor.stub.Session()
    await session.write(pb.SessionRequest(items=[pb.SessionItem(id=1, prepare=prepare)]))
    while not await _is_preparing(executor):  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.01)
    session.cancel()
    answer = await executor.prepare(ws, action)
    assert answer.state == pb.EFFECT_STATE_PREPARED
    assert answer.effect.usage.wall.ToMicroseconds() >= 400_000


async def test_several_runs_on_one_workspace(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    results = await asyncio.gather(
        *(
            executor.prepare(ws, act.command(f"sleep 0.2; echo {step} > f{step}"), step=step)
            for step in range(1, 9)
        )
    )
    assert len({result.effect.base_tree for result in results}) == 1
    await executor.apply(results[0], step=1)
    await refused(executor.apply(results[1], step=2), Reason.WORKSPACE_HEAD_MOVED)


async def _is_preparing(executor: Any) -> bool:
    try:
        found = await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key()))
    except InterlockError:
        return False
    return bool(found.state == pb.EFFECT_STATE_PREPARING)
