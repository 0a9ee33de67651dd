"""RollbackRun: publishes an older tree as a new event."""

from __future__ import annotations

from interlock.common.client import rpc_errors
from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.commands.plan_run import as_error
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.events import RollbackFailed, RolledBack
from interlock.orchestrator.runs.waiting import wait_until
from interlock.v1 import executor_pb2
from interlock.v1 import orchestrator_pb2 as o

_CHANGES = 1000


async def rollback_run(deps: Deps, message: o.RollbackRunRequest) -> o.RollbackRunResponse:
    """Returns when the older tree is the head. A repeated request waits for the same rollback."""
    outcome = await change(
        deps,
        message,
        message.run_id,
        lambda run, ctx: decide_run.roll_back(run, ctx, to_step=message.to_step, comment=message.comment),
        lambda run: o.RollbackRunResponse(run=views.run(run)),
    )
    run = outcome.run if outcome.replayed is None else await deps.book.refresh(message.run_id)
    run, events = await wait_until(deps.feed, deps.book, run, lambda r: r.rollback is None)
    response = o.RollbackRunResponse(run=views.run(run), head_tree=run.head_tree)
    for record in events:
        if isinstance(record.event, RollbackFailed):
            raise as_error(record.event.failure)
        if isinstance(record.event, RolledBack):
            response.previous_tree = record.event.previous_tree
            await _add_changes(deps, run.workspace_id, response)
    return response


async def _add_changes(deps: Deps, workspace_id: str, response: o.RollbackRunResponse) -> None:
    request = executor_pb2.DiffTreesRequest(
        workspace_id=workspace_id, from_tree=response.previous_tree, to_tree=response.head_tree
    )
    with rpc_errors("executor"):
        diff = await deps.executor.stub.DiffTrees(request)
    response.changes.extend(diff.changes[:_CHANGES])
