"""Forks of runs of which something was undone: what is in their tree, and taking it out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import NONE, Stack, command, edit

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import fork_pb2 as f
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2


async def call(stack: Stack, method: str, request: Any) -> Any:
    with rpc_errors("orchestrator"):
        return await getattr(stack.stub, method)(request)


async def fork(stack: Stack, run: str, at_step: int, out: Path, **more: Any) -> run_pb2.Run:
    request = f.ForkRunRequest(run_id=run, at_step=at_step, workspace_path=str(out), **more)
    return (await call(stack, "ForkRun", request)).run  # type: ignore[no-any-return]


async def done(stack: Stack, live: Path) -> str:
    """Three steps, of which each makes a file and the first also changes one that was there."""
    (live / "old").write_text("old\n")
    workspace = await stack.executor.workspace(live)
    first = command("echo new > old; echo 1 > f1", gate=NONE)
    run = await stack.run(workspace, first, edit("f2", "2\n", gate=NONE), edit("f3", "3\n", gate=NONE))
    await stack.until(run, "COMPLETED")
    return run


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


async def test_a_fork_says_what_had_been_undone_and_takes_out_what_was_not(stack: Stack, live: Path) -> None:
    run = await done(stack, live)
    await call(stack, "RevertStep", o.RevertStepRequest(run_id=run, step=2))
    added = [edit("f4", "4\n", gate=NONE)]
    await call(stack, "AddSteps", o.AddStepsRequest(run_id=run, steps=added))
    await call(stack, "ResumeRun", o.ResumeRunRequest(run_id=run))
    parent = await stack.until(run, "COMPLETED")
    await call(stack, "RevertStep", o.RevertStepRequest(run_id=run, step=3))
    out = live.parent / "out"
    child = await fork(stack, run, 4, out)
    assert names(out) == ["f1", "f3", "f4", "old"]
    assert [step.undone.by for step in child.steps] == ["", "revert", "", ""]
    assert child.steps[1].undone.run_id == run
    assert child.head_tree == parent.steps[3].head_tree

    again = o.RevertStepRequest(run_id=child.run_id, step=2)
    with pytest.raises(InterlockError, match="undone already"):
        await call(stack, "RevertStep", again)
    look = o.RevertStepRequest(run_id=child.run_id, step=1, validate_only=True)
    seen = await call(stack, "RevertStep", look)
    assert {change.path for change in seen.changes} == {"f1", "old"}
    answer = await call(stack, "RevertStep", o.RevertStepRequest(run_id=child.run_id, step=1))
    assert answer.head_tree == seen.head_tree
    assert names(out) == ["f3", "f4", "old"]
    assert (out / "old").read_text() == "old\n"
    assert (live / "old").read_text() == "new\n", "the run that it is a fork of is as it was"

    grandchild = await fork(stack, child.run_id, 4, live.parent / "further", without_plan=True)
    assert [step.undone.by for step in grandchild.steps] == ["", "revert", "", ""]
    await call(stack, "RevertStep", o.RevertStepRequest(run_id=grandchild.run_id, step=3))
    assert names(live.parent / "further") == ["f1", "f4", "old"]
    await call(stack, "RollbackRun", o.RollbackRunRequest(run_id=grandchild.run_id))
    assert names(live.parent / "further") == ["f1", "f3", "f4", "old"]


async def test_after_a_step_is_one_tree_for_forks_and_rollbacks(stack: Stack, live: Path) -> None:
    run = await done(stack, live)
    await call(stack, "RollbackRun", o.RollbackRunRequest(run_id=run, to_step=1))
    await call(stack, "RetryStep", o.RetryStepRequest(run_id=run, step=3))
    await call(stack, "ResumeRun", o.ResumeRunRequest(run_id=run))
    parent = await stack.until(run, "COMPLETED")
    for step, expected in ((1, ["f1", "old"]), (2, ["f1", "f2", "old"]), (3, ["f1", "f3", "old"])):
        out = live.parent / f"at{step}"
        child = await fork(stack, run, step, out, without_plan=True)
        assert names(out) == expected
        assert child.head_tree == parent.steps[step - 1].head_tree
    assert [step.undone.by for step in child.steps] == ["", "rollback", ""]
    with pytest.raises(InterlockError) as caught:
        await fork(stack, child.run_id, 2, live.parent / "no")
    assert caught.value.reason is Reason.STEP_WRONG_STATE
    assert run in caught.value.fix
    assert not (live.parent / "no").exists()
