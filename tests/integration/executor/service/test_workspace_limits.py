"""Limits that a workspace is created with: what a command in it gets, and the most it may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2, workspace_pb2

MIB = 1 << 20
LIMITS = step_pb2.Limits(
    wall=Duration(seconds=20),
    processes=40,
    file_bytes=MIB,
    written_files=50,
    output_bytes=4096,
    kept_bytes=512,
)


async def create(
    executor: Any, limits: step_pb2.Limits | None = None, **more: Any
) -> workspace_pb2.Workspace:
    executor.live.mkdir(exist_ok=True)
    (executor.live / "a.txt").write_text("one\n")
    source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=str(executor.live)))
    request = pb.CreateWorkspaceRequest(source=source, limits=limits, **more)
    return (await executor.call("CreateWorkspace", request)).workspace  # type: ignore[no-any-return]


async def get(executor: Any, workspace: str) -> workspace_pb2.Workspace:
    found = await executor.call("GetWorkspace", pb.GetWorkspaceRequest(workspace_id=workspace))
    return found.workspace  # type: ignore[no-any-return]


async def test_they_are_recorded_and_shown(lone: Any) -> None:
    made = await create(lone, LIMITS)
    assert made.limits == LIMITS
    await lone.restart()
    assert (await get(lone, made.workspace_id)).limits == LIMITS
    listed = await lone.call("ListWorkspaces", pb.ListWorkspacesRequest())
    assert [each.limits for each in listed.workspaces] == [LIMITS]


async def test_a_step_that_names_none_gets_them(executor: Any, act: Any) -> None:
    made = await create(executor, LIMITS)
    plain = await executor.call("GetExecutorInfo", pb.GetExecutorInfoRequest())
    done = await executor.prepare(made.workspace_id, act.command("ulimit -f"))
    assert done.limits.wall == LIMITS.wall
    assert done.limits.processes == 40
    assert done.limits.memory_bytes == plain.default_limits.memory_bytes, "what it does not say is as ever"
    assert done.effect.stdout.head == b"1024\n", "KiB: it is in force"


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("head -c 2000000 /dev/zero > big", "file_bytes"),
        ("for i in $(seq 100); do echo > f$i; done", "written_files"),
        ("head -c 100000 /dev/zero", "output_bytes"),
    ],
)
async def test_a_step_that_passes_one_ends(executor: Any, act: Any, command: str, limit: str) -> None:
    made = await create(executor, LIMITS)
    ended = await executor.prepare(made.workspace_id, act.command(command))
    assert ended.state == pb.EFFECT_STATE_FAILED
    if limit == "file_bytes":  # told to the process by the kernel
        assert ended.failure.reason in ("COMMAND_FAILED", "COMMAND_LIMIT_EXCEEDED")
    else:
        assert ended.failure.reason == "COMMAND_LIMIT_EXCEEDED"
        assert ended.failure.metadata["limit"] == limit


ASKED = [
    (step_pb2.Limits(processes=41), "processes", "41", "40"),
    (step_pb2.Limits(wall=Duration(seconds=21)), "wall_us", "21000000", "20000000"),
    (step_pb2.Limits(kept_bytes=513), "kept_bytes", "513", "512"),
]


@pytest.mark.parametrize(("limits", "limit", "asked", "allowed"), ASKED, ids=[each[1] for each in ASKED])
async def test_a_step_that_asks_for_more_is_refused_before_anything_runs(
    executor: Any, act: Any, limits: step_pb2.Limits, limit: str, asked: str, allowed: str
) -> None:
    made = await create(executor, LIMITS)
    action = act.command("echo ran > ran")
    propose = pb.ProposeRequest(
        key=executor.key(), workspace_id=made.workspace_id, action=action, limits=limits
    )
    for call in (
        executor.call("Propose", propose),
        executor.prepare(made.workspace_id, action, limits=limits),
    ):
        with pytest.raises(InterlockError) as caught:
            await call
        assert caught.value.reason is Reason.LIMIT_TOO_HIGH
        found = caught.value.metadata
        assert (found["limit"], found["asked"], found["allowed"]) == (limit, asked, allowed)
        assert caught.value.field == f"limits.{limit}"
    with pytest.raises(InterlockError) as caught:
        await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key()))
    assert caught.value.reason is Reason.EFFECT_NOT_FOUND


async def test_a_timeout_is_a_wall_time(executor: Any, act: Any) -> None:
    made = await create(executor, LIMITS)
    less = await executor.prepare(made.workspace_id, act.command("true", timeout=Duration(seconds=5)))
    assert less.limits.wall == Duration(seconds=5)
    with pytest.raises(InterlockError) as caught:
        await executor.prepare(made.workspace_id, act.command("true", timeout=Duration(seconds=60)), step=2)
    assert caught.value.metadata["limit"] == "wall_us"


async def test_a_workspace_may_allow_more_than_the_usual(executor: Any, act: Any) -> None:
    made = await create(executor, step_pb2.Limits(processes=2000, wall=Duration(seconds=7200)))
    done = await executor.prepare(made.workspace_id, act.command("true"))
    assert (done.limits.processes, done.limits.wall) == (2000, Duration(seconds=7200))


@pytest.mark.parametrize(
    "limits",
    [step_pb2.Limits(processes=1 << 20), step_pb2.Limits(wall=Duration(seconds=-1))],
    ids=["too many", "negative"],
)
async def test_limits_that_nobody_may_have_make_no_workspace(executor: Any, limits: step_pb2.Limits) -> None:
    with pytest.raises(InterlockError) as caught:
        await create(executor, limits)
    assert caught.value.reason in (Reason.INVALID_ARGUMENT, Reason.VALIDATION_FAILED)
    assert (await create(executor)).limits == step_pb2.Limits()


async def test_a_request_id_is_for_these_limits(executor: Any) -> None:
    made = await create(executor, LIMITS, request_id=f"{executor.run}-create")
    assert await create(executor, LIMITS, request_id=f"{executor.run}-create") == made
    with pytest.raises(InterlockError) as caught:
        await create(executor, step_pb2.Limits(processes=9), request_id=f"{executor.run}-create")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_tree_brings_the_limits_of_its_workspace(executor: Any, act: Any) -> None:
    made = await create(executor, LIMITS)
    for limits, expected in ((None, LIMITS), (step_pb2.Limits(processes=9), step_pb2.Limits(processes=9))):
        tree = workspace_pb2.TreeSource(workspace_id=made.workspace_id, tree=made.head_tree)
        request = pb.CreateWorkspaceRequest(source=workspace_pb2.WorkspaceSource(tree=tree), limits=limits)
        forked = (await executor.call("CreateWorkspace", request)).workspace
        assert forked.limits == expected
