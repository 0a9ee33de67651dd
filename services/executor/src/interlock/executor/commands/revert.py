"""Take published effects back out of a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from interlock.common.digests import digest_bytes, digest_json, sha256_text
from interlock.common.errors import InterlockError
from interlock.executor.commands.restore import Restore, before_move
from interlock.executor.commands.unsettled import while_unsettled
from interlock.executor.domain.caller import BY_HAND, Caller
from interlock.executor.engine import Engine
from interlock.executor.snapshots.diff import Diff
from interlock.executor.steps.preview import preview
from interlock.executor.workspaces.register import KEPT_PATHS
from interlock.executor.workspaces.reverts import Revert

_METHOD = "RevertTree"


@dataclass(frozen=True, slots=True)
class RevertTree:
    """What is asked. `expected_head` empty: whatever it is. `run` and `caller` fence.

    `changes` (from, to) stand in the place of `from_tree` and `to_tree`; `whole` is what they come to.
    """

    request_id: str
    workspace: str
    from_tree: str
    to_tree: str
    expected_head: str = ""
    run: str = ""
    caller: Caller = BY_HAND
    validate_only: bool = False
    changes: tuple[tuple[str, str], ...] = ()
    whole: tuple[str, str] | None = None

    @property
    def method(self) -> str:
        """What the request id is unique for: a driver with a secret has request ids of its own."""
        if not (self.run and self.caller.driver):
            return _METHOD
        return f"{_METHOD}/{sha256_text(f'{_METHOD}/{self.caller.driver}'.encode())[7:23]}"

    @property
    def key(self) -> str:
        """Names the publication in the workspace's history."""
        return f"revert{self.method.removeprefix(_METHOD)}/{self.request_id}"

    @property
    def own(self) -> tuple[str, ...]:
        """How the keys of this run's publications begin."""
        if not self.run:
            return ()
        keys = (f"{self.run}/",)
        if not self.caller.driver:
            return keys
        restores = Restore("", self.workspace, "", run=self.run, caller=self.caller).key
        return (*keys, self.key.removesuffix(self.request_id), restores)

    @property
    def asked(self) -> Revert:
        """For the workspaces."""
        one = ((self.from_tree, self.to_tree),) if self.from_tree or self.to_tree else ()
        first, *more = [_pair(change) for change in self.changes or one] or [(b"", b"")]
        return Revert(
            *first,
            "revert",
            "" if self.validate_only else self.key,
            "everything",
            digest_bytes(self.expected_head) if self.expected_head else b"",
            self.validate_only,
            tuple(more),
            _pair(self.whole) if self.whole else None,
            self.own,
        )


@dataclass(frozen=True, slots=True)
class RevertedTree:
    """The head now, the live directory before, how they differ, and whether anything else was kept."""

    head_tree: str
    previous_tree: str
    diff: Diff | None
    merged: bool
    kept: tuple[str, ...] = ()
    kept_count: int = 0


async def revert(engine: Engine, ask: RevertTree, render: Callable[[RevertedTree], bytes]) -> bytes:
    """The answer, rendered; a repeated request gets the first one.

    Raises REVERT_CONFLICT, EPOCH_STALE, EFFECT_NOT_OWNED, REQUEST_ID_REUSED, TREE_NOT_FOUND, WORKSPACE_NOT_FOUND,
    WORKSPACE_HEAD_MOVED, WORKSPACE_BUSY.
    """
    if ask.run:
        await engine.fence(ask.run, ask.caller)
    # The workspace first: a request about none at all leaves nothing behind.
    previous = (await engine.call(engine.workspaces.get, ask.workspace)).head
    if ask.validate_only:
        async with engine.turns.publish(ask.workspace):
            return render(await engine.call(_revert_blocking, engine, ask, previous))
    fingerprint = digest_json(
        {
            "workspace": ask.workspace,
            "from": ask.from_tree,
            "to": ask.to_tree,
            "expected": ask.expected_head,
            **({"changes": [list(pair) for pair in ask.changes]} if ask.changes else {}),
            **({"whole": list(ask.whole)} if ask.whole else {}),
        },
        "interlock.executor.revert.v1",
    )
    begun = await engine.call(
        engine.store.begin_request, ask.method, ask.request_id, fingerprint, previous, engine.now()
    )
    if begun.answer:
        return begun.answer
    return await engine.finish(asyncio.ensure_future(_revert(engine, ask, begun.subject, render)))


async def _revert(
    engine: Engine, ask: RevertTree, before: str, render: Callable[[RevertedTree], bytes]
) -> bytes:
    try:
        async with engine.turns.publish(ask.workspace):
            answer = render(await engine.call(_revert_blocking, engine, ask, before))
    except InterlockError as error:
        wait = await while_unsettled(engine, ask.workspace, ask.key, error)
        if wait is not None:
            raise wait from error
        await engine.note_if_possible(engine.store.drop_request, ask.method, ask.request_id)
        raise
    await engine.note(engine.store.answer_request, ask.method, ask.request_id, answer)
    return answer


def _revert_blocking(engine: Engine, ask: RevertTree, before: str) -> RevertedTree:
    done = engine.workspaces.revert(ask.workspace, ask.asked, wait=5.0)
    previous = done.live_tree or before_move(engine, ask.workspace, ask.key, before)
    diff = preview(engine.workspaces, ask.workspace, previous, done.head_tree)
    alone = done.head_tree == (ask.whole[1] if ask.whole else ask.to_tree)
    return RevertedTree(done.head_tree, previous, diff, not alone, done.kept[:KEPT_PATHS], done.kept_count)


def _pair(trees: tuple[str, str]) -> tuple[bytes, bytes]:
    return digest_bytes(trees[0]), digest_bytes(trees[1])
