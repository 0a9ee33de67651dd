"""What a user and a step do to the same tree while an approval is open: whole runs, every kind of change.

The approval is kept where both changes fit together; else a new one asks, whose preview says what is different, and
what is published is the step's change on what the user made. Nothing of the user's is lost before someone says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.drift_cases import CHANGES, FILES, START, Failed, after, by_hand, edited, line, merged
from tests.support.stack import EFFECT, Stack, command, edit
from tests.support.trees import Tree, read_tree, write_tree

from interlock.v1 import decision_pb2, step_pb2

APART = ("edit", "directory-to-file", "symlink-swap")
OURS = (*CHANGES, *(f"file:{name}" for name in FILES))


def spec(ours: str) -> step_pb2.StepSpec:
    if ours.startswith("file:"):
        path, content, _ = FILES[ours[5:]]
        return edit(path, content, gate=EFFECT)
    return command(line(ours, "ours"), gate=EFFECT)


def model(ours: str, tree: Tree) -> Tree:
    return edited(tree, ours[5:]) if ours.startswith("file:") else after(tree, ours, "ours")


@pytest.mark.parametrize("ours", OURS)
async def test_every_change_of_the_users(stack: Stack, place: Path, ours: str) -> None:
    asked_again = 0
    for theirs in CHANGES:
        for apart in (False, True)[: 1 + (theirs in APART)]:
            live = place / f"{theirs}-{apart}"
            live.mkdir()
            write_tree(live, START)
            asked_again += await pair(stack, live, ours, theirs, apart)
    assert asked_again, "every change meets one that is in its way"


async def pair(stack: Stack, live: Path, ours: str, theirs: str, apart: bool) -> bool:
    """One run. Whether its preview had to be replaced."""
    what = (ours, theirs, apart)
    run = await stack.run(await stack.executor.workspace(live), spec(ours))
    first = await stack.pending(run)
    by_hand(live, line(theirs, "theirs", apart=apart))
    users = after(START, theirs, "theirs", apart=apart)
    both = merged(model(ours, START), users)
    await stack.decide(first)
    if both is not None:
        done = await stack.until(run, "COMPLETED")
        assert read_tree(live) == both, what
        assert done.steps[0].attempt == 1, what
        assert (await stack.approval(first.approval_id)).state == decision_pb2.APPROVAL_STATE_APPROVED
        return False
    try:
        wanted = model(ours, users)
    except Failed:
        done = await stack.until(run, "FAILED")
        assert read_tree(live) == users, what
        assert done.steps[0].attempt == 2, what
        return True
    second = await stack.pending(run, replaces=first.approval_id)
    assert read_tree(live) == users, what
    since = second.preview.changed_since
    assert since.reason == "WORKSPACE_DRIFTED", what
    assert since.paths, what
    assert not since.unavailable, what
    assert since.workspace.changes_total, what
    await stack.decide(second)
    await stack.until(run, "COMPLETED")
    assert read_tree(live) == wanted, what
    return True
