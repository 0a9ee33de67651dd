"""What a user and a step do to the same tree while the step waits: every pairing, through the executor's calls.

Either both changes are published together, or nothing is and the step is prepared again on what the user made; the
user's bytes are never lost on the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.drift_cases import CHANGES, FILES, START, Failed, after, by_hand, edited, line, merged
from tests.support.trees import Tree, read_tree, write_tree

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb

PAIRS = [
    pytest.param(ours, theirs, apart, id=f"{ours}-{theirs}-{'apart' if apart else 'same'}")
    for ours in (*CHANGES, *(f"file:{name}" for name in FILES))
    for theirs in CHANGES
    for apart in (False, True)
]


def action(act: Any, ours: str) -> pb.Action:
    if ours.startswith("file:"):
        path, content, _ = FILES[ours[5:]]
        return act.edit(path, new_content=content)  # type: ignore[no-any-return]
    return act.command(line(ours, "ours"))  # type: ignore[no-any-return]


def model(ours: str, tree: Tree) -> Tree:
    return edited(tree, ours[5:]) if ours.startswith("file:") else after(tree, ours, "ours")


def started(executor: Any) -> Path:
    live: Path = executor.live
    live.mkdir()
    write_tree(live, START)
    return live


@pytest.mark.parametrize(("ours", "theirs", "apart"), PAIRS)
async def test_pair(executor: Any, act: Any, ours: str, theirs: str, apart: bool) -> None:
    live = started(executor)
    source = {"directory": {"path": str(live)}}
    created = await executor.call("CreateWorkspace", pb.CreateWorkspaceRequest(source=source))
    workspace = created.workspace.workspace_id
    first = await executor.prepare(workspace, action(act, ours))
    assert first.state == pb.EFFECT_STATE_PREPARED
    by_hand(live, line(theirs, "theirs", apart=apart))
    users = after(START, theirs, "theirs", apart=apart)
    assert read_tree(live) == users, "the model does what the shell does"

    both = merged(model(ours, START), users)
    if both is not None:
        await executor.apply(first)
        assert read_tree(live) == both
        return
    assert not apart, "what is done to other things is never in the way"
    with pytest.raises(InterlockError) as caught:
        await executor.apply(first)
    assert caught.value.reason is Reason.WORKSPACE_DRIFTED
    assert caught.value.metadata["paths"]
    assert read_tree(live) == users, "nothing was changed"
    await executor.discard()

    second = await executor.prepare(workspace, action(act, ours), attempt=2)
    assert read_tree(live) == users, "a preview changes nothing"
    try:
        wanted = model(ours, users)
    except Failed:
        assert second.state == pb.EFFECT_STATE_FAILED
        assert read_tree(live) == users
        return
    assert second.effect.effect_digest != first.effect.effect_digest
    await executor.apply(second, attempt=2)
    assert read_tree(live) == wanted
