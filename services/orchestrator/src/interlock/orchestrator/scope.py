"""What callers whose token is limited to labels may touch here: runs on workspaces that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from interlock.common.access.scope import outside, require
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity
from interlock.common.interceptors.base import Rpc
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.store.readers import approvals, others, runs

_LEAVE_OUT: Final = frozenset({"ListRuns", "ListApprovalRecords", "WatchApprovals", "BacktestPolicy"})
"""Lists and feeds that leave out what is not within the caller's scope."""

_ABOUT_NOTHING: Final = frozenset(
    {"WhoAmI", "ListAnchors", "Delegate", "ListDelegations", "RevokeDelegation"}
)


class RunScope:
    """Finds the workspaces that a request is about, and looks at their labels."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def check(self, identity: Identity, rpc: Rpc, request: Any) -> None:
        """Raises PERMISSION_DENIED; RUN_NOT_FOUND, APPROVAL_NOT_FOUND, WORKSPACE_NOT_FOUND."""
        if rpc.method in _LEAVE_OUT | _ABOUT_NOTHING:
            return
        if rpc.method == "CreateRun":
            workspace = await self._deps.executor.workspace(request.workspace_id)
            require(identity, workspace.labels, request.workspace_id)
            if request.replay_from:  # its prompts and replies are shown by the new run
                workspace_id = await _of_run(self._deps, request.replay_from)
                labels = await others.workspace_labels(self._deps.database, workspace_id)
                require(identity, labels, request.replay_from)
            return
        if rpc.method == "RemoveWorkspace":
            require(identity, await _labels(self._deps, request.workspace_id), request.workspace_id)
            return
        names = [name for name in request.DESCRIPTOR.fields_by_name if name in _FINDERS]
        if not names:
            raise outside(identity, f"{rpc.method} is about all of them, and it")
        for name in names:
            if resource := getattr(request, name):
                workspace_id = await _FINDERS[name](self._deps, resource)
                labels = await others.workspace_labels(self._deps.database, workspace_id)
                require(identity, labels, resource)
                if rpc.method == "ForkRun":
                    _check_fork(identity, request)


def _check_fork(identity: Identity, request: Any) -> None:
    """A fork has the labels of what it comes from, and for whoever has a scope a directory of the executor's."""
    if request.workspace_path:
        raise outside(identity, request.workspace_path)


async def _labels(deps: Deps, workspace_id: str) -> Mapping[str, Any]:
    """Those of the workspace, also when it was removed and the request is repeated."""
    try:
        return (await deps.executor.workspace(workspace_id)).labels
    except InterlockError as error:
        known = await others.workspace_labels(deps.database, workspace_id)
        if error.reason is not Reason.WORKSPACE_NOT_FOUND or not known:
            raise
        return known


async def _of_run(deps: Deps, run_id: str) -> str:
    return (await runs.get(deps.database, run_id)).workspace_id or ""


async def _of_approval(deps: Deps, approval_id: str) -> str:
    return await _of_run(deps, (await approvals.get(deps.database, approval_id)).run_id)


_FINDERS: Final = {"run_id": _of_run, "run_a": _of_run, "run_b": _of_run, "approval_id": _of_approval}
"""Fields that name a run or an approval, and how its workspace is found."""
