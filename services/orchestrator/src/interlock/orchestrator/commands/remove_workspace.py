"""RemoveWorkspace: out of the executor's care, where no run is on it that has not ended.

The executor does it first, then each run's journal says so. Whatever is cut off in between, repeating the request
finds what was done and tells the runs that were not told.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.model import RUN_FINAL
from interlock.orchestrator.store.readers import others, runs
from interlock.v1 import executor_pb2
from interlock.v1 import orchestrator_pb2 as o

_PAGE: Final = 500
_SECONDS: Final = 900.0
_ENDED: Final = frozenset(state.value for state in RUN_FINAL)


async def remove_workspace(deps: Deps, message: o.RemoveWorkspaceRequest) -> o.RemoveWorkspaceResponse:
    """Raises WORKSPACE_NOT_FOUND, WORKSPACE_BUSY, INVALID_ARGUMENT; a repeated `request_id` gets the first answer."""
    async for row in _runs(deps, message.workspace_id):
        if row.state not in _ENDED:
            raise _in_use(message.workspace_id, row.id, row.state)
    named = message.request_id or deps.ids.new("op")
    request = executor_pb2.ForgetWorkspaceRequest(
        request_id="remove/" + hashlib.sha256(named.encode()).hexdigest(),
        workspace_id=message.workspace_id,
        delete_directory=message.delete_directory,
    )
    executor = await _executor(deps, message.workspace_id)
    with rpc_errors("executor"):
        gone = await executor.stub.ForgetWorkspace(request, timeout=_SECONDS)
    say = partial(decide_run.workspace_removed, directory_deleted=gone.directory_deleted)
    told = 0
    async for row in _runs(deps, message.workspace_id):
        await deps.transactions.change(row.id, say, subject=current_identity().subject)
        told += 1
    return o.RemoveWorkspaceResponse(
        workspace_id=message.workspace_id,
        path=gone.path,
        directory_deleted=gone.directory_deleted,
        runs=told,
    )


async def _executor(deps: Deps, workspace_id: str) -> ExecutorClient:
    """Its executor; for one that is removed already, that of its first run, which answers a repeated request."""
    try:
        return await deps.executor.at(workspace_id)
    except InterlockError as error:
        recorded = await others.workspace_executor(deps.database, workspace_id)
        if error.reason is not Reason.WORKSPACE_NOT_FOUND or recorded not in deps.executor.clients:
            raise
        return deps.executor.clients[recorded]


async def _runs(deps: Deps, workspace_id: str) -> AsyncIterator[runs.RunRow]:
    """Every run on the workspace, newest first."""
    after: str | None = None
    while rows := await runs.list_runs(deps.database, workspace_id=workspace_id, after=after, limit=_PAGE):
        for row in rows:
            yield row
        after = rows[-1].id


def _in_use(workspace_id: str, run_id: str, state: str) -> InterlockError:
    return InterlockError(
        Reason.WORKSPACE_BUSY,
        f"Workspace {workspace_id} cannot be removed: {run_id} on it is {state}.",
        field="workspace_id",
        fix="Let it end (`interlock run wait RUN`), or end it: `interlock run cancel RUN`.",
        metadata={"workspace_id": workspace_id, "run_id": run_id, "state": state},
    )
