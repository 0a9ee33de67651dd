"""A rollback takes out what the run did and nothing else: what others did, before, between and after, stays."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import Stack, command, edit

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.readers import events
from interlock.v1 import decision_pb2, executor_pb2, run_pb2
from interlock.v1 import orchestrator_pb2 as o

LINES = "".join(f"line {n}\n" for n in range(9))


async def call(stub: Any, method: str, request: Any) -> Any:
    with rpc_errors("orchestrator"):
        return await getattr(stub, method)(request)


async def rollback(stub: Any, run: str, **more: Any) -> o.RollbackRunResponse:
    return await call(stub, "RollbackRun", o.RollbackRunRequest(run_id=run, **more))  # type: ignore[no-any-return]


async def revert(stub: Any, run: str, step: int, **more: Any) -> o.RevertStepResponse:
    request = o.RevertStepRequest(run_id=run, step=step, **more)
    return await call(stub, "RevertStep", request)  # type: ignore[no-any-return]


async def get(stub: Any, run: str) -> run_pb2.Run:
    return (await call(stub, "GetRun", o.GetRunRequest(run_id=run))).run  # type: ignore[no-any-return]


async def done_in(stack: Stack, workspace: str, *steps: Any) -> str:
    run = await stack.run(workspace, *steps)
    ended = await stack.until(run, "COMPLETED", "FAILED")
    assert not ended.failure.reason, ended.failure
    return run


def shell(line: str) -> Any:
    return command(line, gate="GATE_NONE")


def write(path: str, content: str) -> Any:
    return edit(path, content, gate="GATE_NONE")


def names(live: Path) -> list[str]:
    return sorted(str(path.relative_to(live)) for path in live.rglob("*"))


async def last(stack: Stack, run: str, count: int) -> list[tuple[str, dict[str, Any]]]:
    """Types and data of a run's last events."""
    rows = await events.of_run(stack.orchestrator.deps.database, run)
    return [(row.type, json.loads(row.canonical)["data"]) for row in rows[-count:]]


async def interrupted(stack: Stack, live: Path, change: Any) -> str:
    """A run of two steps, with somebody changing the directory while the second one waits."""
    workspace = await stack.executor.workspace(live)
    second = shell("sed -i 's/line 1/TWO/' a.txt; echo 2 > two")
    second.gate = 3  # effect
    run = await stack.run(workspace, shell("sed -i 's/line 7/ONE/' a.txt; echo 1 > one"), second)
    shown = await stack.pending(run)
    change()
    await stack.decide(shown)
    while (
        ended := await stack.until(run, "COMPLETED", "AWAITING_APPROVAL")
    ).state != run_pb2.RUN_STATE_COMPLETED:
        await stack.decide(await stack.pending(run, replaces=shown.approval_id))
    return ended.run_id


async def test_alone_it_is_exactly_the_old_tree(stack: Stack, live: Path) -> None:
    (live / "a.txt").write_text(LINES)
    run = await done_in(
        stack,
        await stack.executor.workspace(live),
        shell("sed -i 's/line 7/ONE/' a.txt; echo 1 > one"),
        shell("rm -rf one; mkdir one; echo x > one/x; chmod 600 a.txt"),
        write("b.txt", "b\n"),
    )
    before = await get(stack.stub, run)
    trees = [before.base_tree, *(step.head_tree for step in before.steps)]
    for to_step in (2, 0, 3, 1, 0):
        seen = await rollback(stack.stub, run, to_step=to_step, validate_only=True)
        answer = await rollback(stack.stub, run, to_step=to_step)
        assert answer.head_tree == seen.head_tree == trees[to_step]
        assert (answer.merged, seen.merged) == (False, False)
        assert [x.path for x in answer.changes] == [x.path for x in seen.changes]
    assert (live / "a.txt").read_text() == LINES


async def test_what_somebody_did_between_the_steps_stays_line_by_line(stack: Stack, live: Path) -> None:
    (live / "a.txt").write_text(LINES)

    def change() -> None:
        (live / "a.txt").write_text((live / "a.txt").read_text().replace("line 4", "mine"))
        (live / "mine").write_text("mine\n")

    run = await interrupted(stack, live, change)
    (live / "late").write_text("late\n")
    answer = await rollback(stack.stub, run)
    assert (live / "a.txt").read_text() == LINES.replace("line 4", "mine")
    assert names(live) == ["a.txt", "late", "mine"]
    assert answer.merged
    assert {change.path for change in answer.changes} == {"a.txt", "one", "two"}, (
        "its own changes and no others"
    )
    run_now = await get(stack.stub, run)
    assert [step.undone.by for step in run_now.steps] == ["rollback", "rollback"]
    (adopted, adoption), (rolled_back, event) = await last(stack, run, 2)
    assert (adopted, rolled_back) == ("workspace.drift_adopted", "run.rolled_back")
    assert adoption["to_tree"] == event["previous_tree"] == answer.previous_tree
    assert event["merged"]
    forward = await rollback(stack.stub, run, to_step=2)
    assert names(live) == ["a.txt", "late", "mine", "one", "two"]
    assert "mine" in (live / "a.txt").read_text()
    assert forward.merged


async def test_a_true_conflict_is_named_and_nothing_changes_until_it_is_resolved(
    stack: Stack, live: Path
) -> None:
    (live / "a.txt").write_text(LINES)
    run = await interrupted(stack, live, lambda: (live / "mine").write_text("mine\n"))
    (live / "a.txt").write_text((live / "a.txt").read_text().replace("ONE", "uno"))
    (live / "one").write_text("mine\n")
    before = {name: (live / name).read_bytes() for name in names(live)}
    count = len(await last(stack, run, 1000))
    with pytest.raises(InterlockError) as looked:
        await rollback(stack.stub, run, validate_only=True)
    assert len(await last(stack, run, 1000)) == count, "looking is not recorded"
    with pytest.raises(InterlockError) as caught:
        await rollback(stack.stub, run)
    for error in (looked.value, caught.value):
        assert error.reason is Reason.REVERT_CONFLICT
        assert error.metadata["paths"] == "a.txt\none"
        assert "--discard-later-changes" in error.fix
    assert {name: (live / name).read_bytes() for name in names(live)} == before
    (live / "one").unlink()
    (live / "a.txt").write_text((live / "a.txt").read_text().replace("uno", "ONE"))
    await rollback(stack.stub, run)
    assert names(live) == ["a.txt", "mine"]


async def test_what_a_later_run_made_stays_unless_told_otherwise(stack: Stack, live: Path) -> None:
    (live / "old").write_text("old\n")
    workspace = await stack.executor.workspace(live)
    first = await done_in(stack, workspace, write("a.txt", "first\n"))
    second = await done_in(stack, workspace, write("b.txt", "second\n"))
    answer = await rollback(stack.stub, first)
    assert names(live) == ["b.txt", "old"]
    assert [change.path for change in answer.changes] == ["a.txt"]
    await rollback(stack.stub, first, to_step=1)
    assert names(live) == ["a.txt", "b.txt", "old"]
    (live / "mine").write_text("mine\n")
    base = (await get(stack.stub, first)).base_tree
    seen = await rollback(stack.stub, first, discard_later_changes=True, validate_only=True)
    assert names(live) == ["a.txt", "b.txt", "mine", "old"]
    exact = await rollback(stack.stub, first, discard_later_changes=True)
    assert seen.head_tree == exact.head_tree == base
    assert {change.path for change in exact.changes} == {change.path for change in seen.changes}
    assert names(live) == ["old"]
    assert (await get(stack.stub, second)).head_tree == base, "the run that it went back over knows"


async def test_what_one_step_did_to_anothers_file_in_between_is_a_conflict_only_where_it_is(
    stack: Stack, live: Path
) -> None:
    workspace = await stack.executor.workspace(live)
    first = await done_in(stack, workspace, write("a.txt", LINES), write("b.txt", "b\n"))
    await done_in(stack, workspace, shell("sed -i 's/line 4/theirs/' a.txt"))
    with pytest.raises(InterlockError) as caught:
        await rollback(stack.stub, first)
    assert caught.value.metadata["paths"] == "a.txt"
    await rollback(stack.stub, first, to_step=1)
    assert names(live) == ["a.txt"]


@pytest.mark.parametrize("first", ["rollback", "revert"])
async def test_a_second_undo_keeps_what_the_first_one_kept(stack: Stack, live: Path, first: str) -> None:
    workspace = await stack.executor.workspace(live)
    run = await done_in(stack, workspace, write("a.txt", "one\n"), write("b.txt", "two\n"))
    (live / "mine").write_text("mine\n")
    if first == "rollback":
        await rollback(stack.stub, run, to_step=1)
    else:
        await revert(stack.stub, run, 2)
    assert names(live) == ["a.txt", "mine"]
    answer = await rollback(stack.stub, run)
    assert [change.path for change in answer.changes] == ["a.txt"]
    assert names(live) == ["mine"]


async def test_the_users_own_commits_stay(stack: Stack, live: Path) -> None:
    def git(*arguments: str) -> str:
        settings = (
            "-c",
            "user.name=ann",
            "-c",
            "user.email=ann@example.org",
            "-c",
            "init.defaultBranch=main",
        )
        done = subprocess.run(
            ["git", "-C", str(live), *settings, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout

    git("init")
    (live / "mine").write_text("first\n")
    git("add", "mine")
    git("commit", "-m", "first")
    workspace = await stack.executor.workspace(live)
    run = await stack.run(workspace, write("a.txt", "one\n"), edit("b.txt", "second\n", gate="GATE_EFFECT"))
    await stack.until(run, "AWAITING_APPROVAL")
    (live / "mine").write_text("second\n")
    await asyncio.to_thread(git, "commit", "-a", "-m", "second")
    await stack.decide(await stack.pending(run), approve=decision_pb2.Approve())
    await stack.until(run, "COMPLETED")
    await rollback(stack.stub, run)
    assert {"a.txt", "b.txt"}.isdisjoint(names(live))
    assert (await asyncio.to_thread(git, "log", "--format=%s")).split() == ["second", "first"]
    assert (await asyncio.to_thread(git, "status", "--porcelain")) == ""
    await rollback(stack.stub, run, discard_later_changes=True)
    assert (live / "mine").read_text() == "first\n"


async def test_a_dry_run_shows_the_lines_and_changes_nothing(stack: Stack, live: Path) -> None:
    (live / "a.txt").write_text(LINES)
    workspace = await stack.executor.workspace(live)
    run = await done_in(stack, workspace, shell("sed -i 's/line 7/ONE/' a.txt"), write("b.txt", "b\n"))
    (live / "mine").write_text("mine\n")
    count, head = len(await last(stack, run, 1000)), await stack.executor.head(workspace)
    for answer in (
        await rollback(stack.stub, run, validate_only=True),
        await rollback(stack.stub, run, to_step=1, validate_only=True),
        await revert(stack.stub, run, 1, validate_only=True),
    ):
        assert answer.merged
        assert 0 < answer.changes_total == len(answer.changes) < 3
        for change in answer.changes:
            assert change.path in answer.diff
        assert "mine" not in answer.diff
    assert "-ONE\n+line 7\n" in answer.diff
    assert len(await last(stack, run, 1000)) == count
    found = await stack.executor.stub.ListSnapshots(executor_pb2.ListSnapshotsRequest(workspace_id=workspace))
    assert found.snapshots[0].tree == head, "not even what somebody did is entered"
    assert names(live) == ["a.txt", "b.txt", "mine"]


@pytest.mark.parametrize("point", ["publish.recorded", "publish.live.staged", "publish.live.entry"])
@pytest.mark.parametrize("move", [1, 2])
async def test_an_executor_killed_on_the_way_ends_it_when_it_is_back(
    stack: Stack, live: Path, point: str, move: int
) -> None:
    """In the move that enters what somebody did, which has one of these points, or in the rollback's own."""
    (live / "old").write_text("old\n")
    workspace = await stack.executor.workspace(live)
    run = await done_in(stack, workspace, shell("echo 1 > f1; rm old"), shell("echo 2 > f2"))
    (live / "mine").write_text("mine\n")
    await stack.executor.kill()
    await stack.executor.start(f"{point}:{move if point == 'publish.recorded' else 1}")
    answer = asyncio.create_task(rollback(stack.stub, run))
    await stack.executor.child.process.wait()
    await stack.executor.start()
    done_now = await answer
    assert names(live) == ["mine", "old"]
    assert {change.path for change in done_now.changes} == {"f1", "f2", "old"}
    assert [kind for kind, _ in await last(stack, run, 3)] == [
        "run.rollback_requested",
        "workspace.drift_adopted",
        "run.rolled_back",
    ]
    assert await stack.executor.head(workspace) == done_now.head_tree
