"""Forget a workspace."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from interlock.common import logs
from interlock.common.digests import digest_json
from interlock.common.errors import InterlockError, Reason
from interlock.executor.engine import Engine
from interlock.executor.files import failpoints

_METHOD = "ForgetWorkspace"
_log = logs.get("workspaces")


@dataclass(frozen=True)
class Forgotten:
    """Where its directory was or is, and whether that was deleted."""

    path: str
    deleted: bool


async def forget_workspace(
    engine: Engine, workspace: str, *, delete: bool, request_id: str, render: Callable[[Forgotten], bytes]
) -> bytes:
    """The answer, rendered; a repeated request gets the first one, also where that was cut off.

    Raises WORKSPACE_NOT_FOUND, WORKSPACE_BUSY, INVALID_ARGUMENT, REQUEST_ID_REUSED.
    """
    async with engine.turns.publish(workspace):
        return await engine.call(_forget, engine, workspace, delete, request_id, render)


def _forget(
    engine: Engine, workspace: str, delete: bool, request_id: str, render: Callable[[Forgotten], bytes]
) -> bytes:
    begun = _begun(engine, workspace, delete, request_id) if request_id else None
    if begun is not None and begun[1]:
        return begun[1]
    try:
        path = str(engine.workspaces.get(workspace).live)
        _check_undecided(engine, workspace)
        engine.workspaces.remove(workspace, delete=delete)
        failpoints.hit("forget.removed")
    except InterlockError as error:
        # Of a request that was begun before, the workspace is gone because it was cut off after that.
        if begun is None or not begun[0] or error.reason is not Reason.WORKSPACE_NOT_FOUND:
            if begun is not None and not begun[0]:
                engine.store.drop_request(_METHOD, request_id)
            raise
        path = begun[0]
    answer = render(Forgotten(path, delete))
    if request_id:
        engine.store.answer_request(_METHOD, request_id, answer)
    _log.info("workspace removed", workspace_id=workspace, path=path, deleted=delete)
    return answer


def _begun(engine: Engine, workspace: str, delete: bool, request_id: str) -> tuple[str, bytes]:
    """Of an earlier request with this id: the directory and the answer, as far as it came; else empty."""
    fingerprint = digest_json({"workspace": workspace, "delete": delete}, "interlock.executor.forget.v1")
    try:
        path = str(engine.workspaces.get(workspace).live)
    except InterlockError:
        path = ""
    mine = json.dumps([engine.ids.new("op"), path])
    known = engine.store.begin_request(_METHOD, request_id, fingerprint, mine, engine.now())
    return ("", b"") if known.subject == mine else (json.loads(known.subject)[1], known.answer)


def _check_undecided(engine: Engine, workspace: str) -> None:
    if any(each == workspace for each, _ in engine.store.undecided()):
        raise InterlockError(
            Reason.WORKSPACE_BUSY,
            f"A step is under way in workspace {workspace}, or its preview waits to be decided about.",
            field="workspace_id",
            fix="Decide about it, or cancel its run: `interlock approvals list` and `interlock run list` show them.",
            metadata={"workspace_id": workspace},
        )
