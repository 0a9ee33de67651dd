"""Make an older tree the head."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, takewhile

from interlock.common.digests import digest_json, sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.commands.unsettled import while_unsettled
from interlock.executor.domain.caller import BY_HAND, Caller
from interlock.executor.engine import Engine
from interlock.executor.snapshots.diff import Diff
from interlock.executor.steps.preview import preview
from interlock.executor.workspaces.model import Head, PublishResult
from interlock.executor.workspaces.register import KEPT_PATHS

_METHOD = "RestoreTree"


@dataclass(frozen=True, slots=True)
class Restore:
    """What is asked. `expected_head` empty: whatever it is. `run` and `caller` fence."""

    request_id: str
    workspace: str
    tree: str
    expected_head: str = ""
    run: str = ""
    caller: Caller = BY_HAND

    @property
    def scope(self) -> str:
        """Drivers with a secret have request ids of their own: nobody else can use one of theirs before them.

        Derived from the digest, which is no secret of the driver but is not told to anyone either.
        """
        if not (self.run and self.caller.driver):
            return ""
        return sha256_text(f"{_METHOD}/{self.caller.driver}".encode())[7:23]

    @property
    def method(self) -> str:
        """What the request id is unique for."""
        return f"{_METHOD}/{self.scope}" if self.scope else _METHOD

    @property
    def key(self) -> str:
        """Names the publication in the workspace's history."""
        return f"rollback/{self.scope}/{self.request_id}" if self.scope else f"restore/{self.request_id}"


@dataclass(frozen=True, slots=True)
class Restored:
    """The head now and before, and the difference between them."""

    head_tree: str
    previous_tree: str
    diff: Diff | None
    kept: tuple[str, ...] = ()
    kept_count: int = 0


async def restore(engine: Engine, ask: Restore, render: Callable[[Restored], bytes]) -> bytes:
    """The answer, rendered; a repeated request gets the first one.

    Raises EPOCH_STALE, EFFECT_NOT_OWNED, REQUEST_ID_REUSED, TREE_NOT_FOUND, WORKSPACE_NOT_FOUND, WORKSPACE_HEAD_MOVED,
    WORKSPACE_DRIFTED, WORKSPACE_BUSY.
    """
    if ask.run:
        await engine.fence(ask.run, ask.caller)
    fingerprint = digest_json(
        {"workspace": ask.workspace, "tree": ask.tree, "expected": ask.expected_head},
        "interlock.executor.restore.v1",
    )
    # The workspace first: a request about none at all leaves nothing behind.
    previous = (await engine.call(engine.workspaces.get, ask.workspace)).head
    begun = await engine.call(
        engine.store.begin_request, ask.method, ask.request_id, fingerprint, previous, engine.now()
    )
    if begun.answer:
        return begun.answer
    return await engine.finish(asyncio.ensure_future(_restore(engine, ask, begun.subject, render)))


async def _restore(engine: Engine, ask: Restore, before: str, render: Callable[[Restored], bytes]) -> bytes:
    try:
        async with engine.turns.publish(ask.workspace):
            answer = render(await engine.call(_restore_blocking, engine, ask, before))
    except InterlockError as error:
        wait = await while_unsettled(engine, ask.workspace, ask.key, error)
        if wait is not None:
            raise wait from error
        await engine.note_if_possible(engine.store.drop_request, ask.method, ask.request_id)
        raise
    await engine.note(engine.store.answer_request, ask.method, ask.request_id, answer)
    return answer


def _restore_blocking(engine: Engine, ask: Restore, before: str) -> Restored:
    require_head(engine, ask.workspace, ask.tree, "tree")
    heads = engine.workspaces.heads(ask.workspace)
    done = any(head.key == ask.key for head in heads)
    if not done:
        before = heads[-1].tree
        _check_expected(heads, ask.expected_head)
        if ask.expected_head:
            _check_others(engine, ask)
    result = _roll_back(engine, ask)
    before = before_move(engine, ask.workspace, ask.key, before)
    diff = preview(engine.workspaces, ask.workspace, before, result.head_tree)
    return Restored(result.head_tree, before, diff, result.kept[:KEPT_PATHS], result.kept_count)


def before_move(engine: Engine, workspace: str, key: str, otherwise: str) -> str:
    """The head right before the publication of this name; `otherwise` where it moved nothing, or is forgotten."""
    for before, after in pairwise(engine.workspaces.heads(workspace)):
        if after.key == key:
            return before.tree
    return otherwise


def _roll_back(engine: Engine, ask: Restore) -> PublishResult:
    try:
        return engine.workspaces.rollback(
            ask.workspace, ask.tree, expected_head=ask.expected_head, key=ask.key, wait=5.0
        )
    except InterlockError as error:
        if error.reason is not Reason.WORKSPACE_DRIFTED:
            raise
        paths = error.metadata.get("paths", "").splitlines()
        raise InterlockError(
            error.reason,
            f"Somebody changed what going back changes: {', '.join(paths)}. Nothing was changed.",
            fix="Put these files back as the run left them, or move them away, and go back again; or take single "
            "steps out with `interlock step revert RUN STEP`.",
            metadata=error.metadata,
        ) from None


def _check_expected(heads: list[Head], expected: str) -> None:
    """The head must be the expected one, or only others' changes may have come after that."""
    since = list(takewhile(lambda head: head.tree != expected, reversed(heads)))
    moved = next((head for head in since if head.cause != "drift"), None)
    if not expected or (moved is None and len(since) < len(heads)):
        return
    raise InterlockError(
        Reason.WORKSPACE_HEAD_MOVED,
        f"The workspace's head is {heads[-1].tree}, not {expected}"
        + (f": {moved.cause} {moved.key} came after it." if moved and len(since) < len(heads) else "."),
        field="expected_head",
        fix="Undo what came after it first, or take one step out with `interlock step revert RUN STEP`, "
        "or go back over it: `interlock run rollback RUN --discard-later-changes`.",
        metadata={"head_tree": heads[-1].tree, **({"moved_by": moved.key} if moved else {})},
    )


def _check_others(engine: Engine, ask: Restore) -> None:
    """What people changed between the two trees is in neither of the run's effects, and is not taken away unasked."""
    paths = engine.workspaces.undone_by_going_back(ask.workspace, ask.tree, ask.expected_head)
    if paths:
        named = ", ".join(paths[:20]) + (f" and {len(paths) - 20} more" if len(paths) > 20 else "")
        raise InterlockError(
            Reason.WORKSPACE_DRIFTED,
            f"Going back would also undo what somebody else changed in between: {named}. Nothing was changed.",
            fix="Take the steps out one by one with `interlock step revert RUN STEP`, which keeps it, or go back "
            "over it: `interlock run rollback RUN --discard-later-changes`.",
            metadata={"paths": "\n".join(paths[:100]), "count": str(len(paths))},
        )


def require_head(engine: Engine, workspace: str, tree: str, field: str) -> None:
    """Refuse a tree that the workspace was never at. Blocks. Raises TREE_NOT_FOUND.

    A tree that waits to be approved is in the store as well: going to it would publish it unasked.
    """
    if all(head.tree != tree for head in engine.workspaces.heads(workspace)):
        raise InterlockError(
            Reason.TREE_NOT_FOUND,
            f"The workspace was never at {tree}.",
            field=field,
            fix="Name a tree of its snapshots; a prepared effect is published by applying it.",
        )
