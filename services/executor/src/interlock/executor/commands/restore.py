"""Make an older tree the head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from interlock.common.digests import digest_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.engine import Engine
from interlock.executor.snapshots.diff import Diff
from interlock.executor.steps.preview import preview

_METHOD = "RestoreTree"


@dataclass(frozen=True, slots=True)
class Restore:
    """What is asked. `expected_head` empty: whatever it is. `run` and `epoch` fence."""

    request_id: str
    workspace: str
    tree: str
    expected_head: str = ""
    run: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """The head now and before, and the difference between them."""

    head_tree: str
    previous_tree: str
    diff: Diff | None


async def restore(engine: Engine, ask: Restore, render: Callable[[Restored], bytes]) -> bytes:
    """The answer, rendered; a repeated request gets the first one.

    Raises EPOCH_STALE, REQUEST_ID_REUSED, TREE_NOT_FOUND, WORKSPACE_NOT_FOUND, WORKSPACE_HEAD_MOVED,
    WORKSPACE_DRIFTED, WORKSPACE_BUSY.
    """
    if ask.run:
        await engine.call(engine.store.fence, ask.run, ask.epoch, engine.now())
    fingerprint = digest_json(
        {"workspace": ask.workspace, "tree": ask.tree, "expected": ask.expected_head},
        "interlock.executor.restore.v1",
    )
    # The workspace first: a request about none at all leaves nothing behind.
    previous = (await engine.call(engine.workspaces.get, ask.workspace)).head
    begun = await engine.call(
        engine.store.begin_request, _METHOD, ask.request_id, fingerprint, previous, engine.now()
    )
    if begun.answer:
        return begun.answer
    return await engine.finish(asyncio.ensure_future(_restore(engine, ask, begun.subject, render)))


async def _restore(engine: Engine, ask: Restore, before: str, render: Callable[[Restored], bytes]) -> bytes:
    try:
        async with engine.turns.publish(ask.workspace):
            answer = render(await engine.call(_restore_blocking, engine, ask, before))
    except InterlockError:
        await engine.call(engine.store.drop_request, _METHOD, ask.request_id)
        raise
    await engine.call(engine.store.answer_request, _METHOD, ask.request_id, answer)
    return answer


def _restore_blocking(engine: Engine, ask: Restore, before: str) -> Restored:
    key = f"restore/{ask.request_id}"
    heads = engine.workspaces.heads(ask.workspace)
    done = any(head.key == key for head in heads)
    head = engine.workspaces.get(ask.workspace).head
    if not done:
        before = head
        if ask.expected_head not in ("", head):
            raise InterlockError(
                Reason.WORKSPACE_HEAD_MOVED,
                f"The workspace's head is {head}, not {ask.expected_head}.",
                field="expected_head",
                metadata={"head_tree": head},
            )
    result = engine.workspaces.rollback(ask.workspace, ask.tree, key=key, wait=5.0)
    diff = preview(engine.workspaces, ask.workspace, before, result.head_tree)
    return Restored(result.head_tree, before, diff)
