"""A workspace taken out of Interlock's care: who may, what goes, what stays, and once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import EFFECT, NONE, Stack, edit
from tests.support.trees import read_tree

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as x
from interlock.v1 import fork_pb2 as f
from interlock.v1 import orchestrator_pb2 as o


async def remove(stack: Stack, workspace: str, **more: Any) -> o.RemoveWorkspaceResponse:
    with rpc_errors("orchestrator"):
        return await stack.stub.RemoveWorkspace(o.RemoveWorkspaceRequest(workspace_id=workspace, **more))


async def refused(stack: Stack, workspace: str, **more: Any) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await remove(stack, workspace, **more)
    return caught.value


async def removals(stack: Stack, run_id: str) -> list[dict[str, Any]]:
    """What the run's journal says of its workspace's end."""
    events = (await stack.stub.ListEvents(o.ListEventsRequest(run_id=run_id))).events
    return [json.loads(e.canonical_json)["data"] for e in events if e.type == "workspace.removed"]


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(each.name for each in directory.iterdir())


async def test_nothing_is_removed_under_a_run_and_the_directory_is_left_alone(
    stack: Stack, live: Path
) -> None:
    workspace = await stack.executor.workspace(live)
    ended = await stack.run(workspace, edit("f", "published\n", gate=NONE))
    await stack.until(ended, "COMPLETED")
    waiting = await stack.run(workspace, edit("f", "a preview\n", gate=EFFECT))
    shown = await stack.pending(waiting)

    error = await refused(stack, workspace)
    assert (error.reason, error.metadata["run_id"]) == (Reason.WORKSPACE_BUSY, waiting)
    assert f"`interlock run cancel {waiting}`" in error.fix
    await stack.decide(shown, reject={})
    await stack.until(waiting, "FAILED", "CANCELLED")
    error = await refused(stack, workspace, delete_directory=True)
    assert (error.reason, error.field) == (Reason.INVALID_ARGUMENT, "delete_directory")
    before = read_tree(live)

    done = await remove(stack, workspace, request_id="one")
    assert (done.workspace_id, done.path, done.directory_deleted, done.runs) == (
        workspace,
        str(live),
        False,
        2,
    )
    assert read_tree(live) == before
    assert not (stack.executor.state / "workspaces" / workspace).exists(), "forks and the base are gone"
    assert await removals(stack, ended) == await removals(stack, waiting) == [{"by": "local"}]

    assert await remove(stack, workspace, request_id="one") == done, "repeated, it is the first answer"
    assert len(await removals(stack, ended)) == 1
    assert (await refused(stack, workspace)).reason is Reason.WORKSPACE_NOT_FOUND
    assert (await refused(stack, "ws-never")).reason is Reason.WORKSPACE_NOT_FOUND
    with pytest.raises(InterlockError, match="was removed") as caught, rpc_errors("orchestrator"):
        await stack.stub.RollbackRun(o.RollbackRunRequest(run_id=ended))
    assert caught.value.reason is Reason.WORKSPACE_NOT_FOUND
    await free(stack)
    again = await stack.executor.workspace(live)
    assert again != workspace, "the directory can be made one again"


async def free(stack: Stack) -> None:
    """A collection, when everything is old, leaves nothing of a workspace that nothing else needs."""
    with sqlite3.connect(stack.executor.state / "store" / "objects.db") as db:
        db.execute("UPDATE objects SET added=0")
    db.close()
    with rpc_errors("orchestrator"):
        done = (await stack.stub.CollectStorage(o.CollectStorageRequest())).executor
    assert done.objects_removed > 0
    with rpc_errors("executor"):
        found = await stack.executor.stub.GetStorage(x.GetStorageRequest())
    assert list(found.workspaces) == []


async def test_what_interlock_made_can_go_with_it_also_through_a_crash(stack: Stack, live: Path) -> None:
    (live / "kept").write_text("the user's\n")
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, edit("f", "1\n", gate=NONE))
    await stack.until(run, "COMPLETED")
    with rpc_errors("orchestrator"):
        forked = (await stack.stub.ForkRun(f.ForkRunRequest(run_id=run, at_step=1, without_plan=True))).run
        await stack.stub.CancelRun(o.CancelRunRequest(run_id=forked.run_id))
    with rpc_errors("executor"):
        asked = x.GetWorkspaceRequest(workspace_id=forked.workspace_id)
        made = Path((await stack.executor.stub.GetWorkspace(asked)).workspace.path)
    assert (made / "f").read_text() == "1\n"

    await stack.executor.kill()
    await stack.executor.start("forget.removed")
    error = await refused(stack, forked.workspace_id, request_id="r", delete_directory=True)
    assert error.reason is Reason.UNAVAILABLE
    await stack.executor.child.process.wait()
    await stack.executor.start()
    done = await remove(stack, forked.workspace_id, request_id="r", delete_directory=True)
    assert (done.path, done.directory_deleted, done.runs) == (str(made), True, 1)
    assert made.name not in names(made.parent)
    assert await removals(stack, forked.run_id) == [{"by": "local", "directory_deleted": True}]
    assert (await refused(stack, workspace, request_id="r")).reason is Reason.REQUEST_ID_REUSED
    assert await stack.executor.head(workspace), "the workspace that it was a fork of is as it was"
    assert names(live) == ["f", "kept"]
