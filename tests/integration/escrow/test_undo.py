"""Undoing on a real executor: whose changes are taken out, whose stay, and what a crash in between leaves behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.orchestrator import orchestrator
from tests.support.stack import Stack, command, edit

from interlock.common.addresses import parse_address
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.readers import events
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import run_pb2

LINES = "".join(f"line {n}\n" for n in range(9))


async def call(stub: Any, method: str, request: Any) -> Any:
    with rpc_errors("orchestrator"):
        return await getattr(stub, method)(request)


async def revert(stub: Any, run: str, step: int, **more: Any) -> o.RevertStepResponse:
    request = o.RevertStepRequest(run_id=run, step=step, **more)
    return await call(stub, "RevertStep", request)  # type: ignore[no-any-return]


async def get(stub: Any, run: str) -> run_pb2.Run:
    return (await call(stub, "GetRun", o.GetRunRequest(run_id=run))).run  # type: ignore[no-any-return]


async def done(stack: Stack, live: Path, *steps: Any) -> str:
    """The id of a run that has carried out these steps, ungated."""
    return await done_in(stack, await stack.executor.workspace(live), *steps)


async def done_in(stack: Stack, workspace: str, *steps: Any) -> str:
    run = await stack.run(workspace, *steps)
    ended = await stack.until(run, "COMPLETED", "FAILED")
    assert not ended.failure.reason, ended.failure
    return run


def names(live: Path) -> list[str]:
    """Every path in a directory."""
    return sorted(str(path.relative_to(live)) for path in live.rglob("*"))


def shell(line: str) -> Any:
    return command(line, gate="GATE_NONE")


async def types(stack_or_running: Any, run: str) -> list[str]:
    rows = await events.of_run(stack_or_running.deps.database, run)
    return [row.type for row in rows]


async def test_a_commands_changes_are_taken_out_and_what_came_later_stays(stack: Stack, live: Path) -> None:
    (live / "a.txt").write_text(LINES)
    first = shell(
        "sed -i 's/line 1/ONE/' a.txt; mkdir made; echo x > made/x; chmod 700 made; ln -s made link"
    )
    second = shell("sed -i 's/line 5/FIVE/' a.txt; echo later > made/later")
    run = await done(stack, live, first, second)
    (live / "a.txt").write_text((live / "a.txt").read_text().replace("line 8", "mine"))
    (live / "mine").write_text("mine\n")
    seen = await revert(stack.stub, run, 1, validate_only=True)
    assert (live / "link").is_symlink(), "looking changes nothing"
    answer = await revert(stack.stub, run, 1, comment="not this")
    assert (answer.head_tree, answer.merged) == (seen.head_tree, True)
    assert (live / "a.txt").read_text() == LINES.replace("line 5", "FIVE").replace("line 8", "mine")
    assert names(live) == [
        "a.txt",
        "made",
        "made/later",
        "mine",
    ]
    step = (await get(stack.stub, run)).steps[0]
    assert step.undone.by == "revert"
    assert step.undone.at.seconds
    assert (await get(stack.stub, run)).head_tree == answer.head_tree
    assert await stack.executor.head((await get(stack.stub, run)).workspace_id) == answer.head_tree


async def test_conflicts_are_named_nothing_changes_and_a_repeated_request_says_the_same(
    stack: Stack, live: Path
) -> None:
    (live / "a.txt").write_text(LINES)
    run = await done(
        stack, live, shell("sed -i 's/line 1/ONE/' a.txt; echo x > new"), shell("sed -i 's/ONE/uno/' a.txt")
    )
    before = (live / "a.txt").read_text()
    for _ in range(2):
        with pytest.raises(InterlockError) as caught:
            await revert(stack.stub, run, 1, request_id="once")
        assert caught.value.reason is Reason.REVERT_CONFLICT
        assert caught.value.metadata["paths"] == "a.txt"
    assert ((live / "a.txt").read_text(), (live / "new").exists()) == (before, True)
    assert (await types(stack.orchestrator, run)).count("step.revert_requested") == 1
    await revert(stack.stub, run, 2)
    await revert(stack.stub, run, 1)
    assert (live / "a.txt").read_text() == LINES


async def test_going_on_after_a_rollback_by_retrying_and_by_adding(stack: Stack, live: Path) -> None:
    run = await done(stack, live, *(shell(f"date +%s%N > f{n}") for n in (1, 2, 3)))
    third = (live / "f3").read_text()
    await call(stack.stub, "RollbackRun", o.RollbackRunRequest(run_id=run, to_step=1))
    assert [step.undone.by for step in (await get(stack.stub, run)).steps] == ["", "rollback", "rollback"]
    await call(stack.stub, "RetryStep", o.RetryStepRequest(run_id=run, step=3))
    added = [edit("f4", "4\n", gate="GATE_NONE")]
    paused = (await call(stack.stub, "AddSteps", o.AddStepsRequest(run_id=run, steps=added))).run
    assert (run_pb2.RunState.Name(paused.state), paused.pause_reason) == ("RUN_STATE_PAUSED", "reopened")
    await call(stack.stub, "ResumeRun", o.ResumeRunRequest(run_id=run))
    ended = await stack.until(run, "COMPLETED")
    assert names(live) == ["f1", "f3", "f4"]
    assert (live / "f3").read_text() != third, "it ran again"
    assert [step.HasField("undone") for step in ended.steps] == [False, True, False, False]
    await revert(stack.stub, run, 3)
    assert names(live) == ["f1", "f4"]


async def test_a_revert_and_a_preview_that_waits(stack: Stack, live: Path) -> None:
    """The head moves under the preview by a revert: what was shown is void, and it is asked about anew."""
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, shell("echo 1 > f1"), edit("f2", "2\n", gate="GATE_EFFECT"))
    shown = await stack.pending(run)
    await call(stack.stub, "PauseRun", o.PauseRunRequest(run_id=run))
    await revert(stack.stub, run, 1)
    await stack.decide(shown)
    await call(stack.stub, "ResumeRun", o.ResumeRunRequest(run_id=run))
    again = await stack.pending(run, replaces=shown.approval_id)
    assert not (live / "f2").exists()
    await stack.decide(again)
    await stack.until(run, "COMPLETED")
    assert names(live) == ["f2"]


@pytest.mark.parametrize(
    "point", ["publish.recorded", "publish.base.entry", "publish.live.staged", "publish.live.entry"]
)
async def test_an_executor_killed_between_intent_and_publish(stack: Stack, live: Path, point: str) -> None:
    (live / "old").write_text("old\n")
    run = await done(stack, live, shell("echo 1 > f1; rm old"), shell("echo 2 > f2"))
    await stack.executor.kill()
    await stack.executor.start(f"{point}:1")
    answer = asyncio.create_task(revert(stack.stub, run, 1))
    await stack.executor.child.process.wait()
    await stack.executor.start()
    done_now = await answer
    assert names(live) == ["f2", "old"]
    assert (await types(stack.orchestrator, run))[-2:] == ["step.revert_requested", "step.reverted"]
    workspace = (await get(stack.stub, run)).workspace_id
    assert await stack.executor.head(workspace) == done_now.head_tree


async def test_an_orchestrator_that_ends_after_the_intent_leaves_it_to_the_next(
    stack: Stack, live: Path, database_url: str
) -> None:
    run = await done(stack, live, shell("echo 1 > f1"), shell("echo 2 > f2"))
    executor = parse_address(stack.executor.address)
    await stack.executor.kill()
    async with orchestrator(database_url, executor) as second:
        asked = asyncio.create_task(revert(second.stub, run, 1, request_id="r"))
        while "step.revert_requested" not in await types(second, run):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    await stack.executor.start()
    async with orchestrator(database_url, executor) as third:
        answer = await revert(third.stub, run, 1, request_id="r")
        assert answer.previous_tree != answer.head_tree
        assert (await types(third, run)).count("step.reverted") == 1
    assert names(live) == ["f2"]
