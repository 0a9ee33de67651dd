"""ForkRun: a new run of an older one's beginning, on a workspace of its own.

The workspace comes first, by a request whose id follows from this one's, then the run with the record of the request
in one transaction. Whatever is cut off in between, repeating the request finds the workspace and makes the run.
"""

from __future__ import annotations

import hashlib
from functools import partial

from interlock.common import telemetry
from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.orchestrator.commands.create_run import new_trace, new_workspace
from interlock.orchestrator.commands.mutate import request_of
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.fork import Beginning, Prefix, fork, found
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.queries.runs import step_views
from interlock.orchestrator.runs.book import recorded
from interlock.orchestrator.store.readers import events, others
from interlock.orchestrator.store.records import WorkspaceChange
from interlock.v1 import executor_pb2, workspace_pb2
from interlock.v1 import fork_pb2 as f

_PAGE = 1000
_CHECKOUT_SECONDS = 900.0
_MOST_LABELS = 50


async def fork_run(deps: Deps, message: f.ForkRunRequest) -> f.ForkRunResponse:
    """The new run, on its own workspace. A repeated request gets the one it made first, finished if it was cut off."""
    caller = current_identity()
    request = request_of(message, lambda run: f.ForkRunResponse(run=views.run(run)))
    if message.request_id:
        known = await others.recorded(deps.database, request.method, request.request_id, request.fingerprint)
        if known is not None:
            return await _answer(deps, f.ForkRunResponse.FromString(known).run.run_id)
    begin = await _beginning(deps, message)
    tree = begin.tree or (await deps.executor.workspace(begin.parent.workspace_id)).head_tree
    labels = _labels(begin.parent, message)
    events_of = partial(
        fork,
        deps.transactions.context(caller.subject, caller.owner),
        begin,
        tree=tree,
        labels=labels,
        traceparent=telemetry.inject() or new_trace(),
        without_plan=message.without_plan,
        start=message.start,
    )
    events_of(workspace_id="")  # what is refused is refused before anything is made
    workspace = await _workspace(deps, message, begin.parent, tree)
    outcome = await deps.transactions.create(
        deps.ids.new("run"),
        events_of(workspace_id=workspace.workspace_id, workspace_labels=dict(workspace.labels)),
        WorkspaceChange(
            workspace.workspace_id,
            create=await new_workspace(deps, workspace),
        ),
        request=request,
        goal=begin.parent.goal,
        labels=labels,
    )
    if outcome.replayed is not None:
        return await _answer(deps, f.ForkRunResponse.FromString(outcome.replayed).run.run_id)
    return await _answer(deps, outcome.run.run_id)


async def _beginning(deps: Deps, message: f.ForkRunRequest) -> Beginning:
    """Reads the older run's journal. Raises RUN_NOT_FOUND, STEP_NOT_FOUND, STEP_WRONG_STATE."""
    prefix = Prefix(message.at_step, await deps.book.refresh(message.run_id))
    after = 0
    while rows := await events.of_run(deps.database, message.run_id, after, _PAGE):
        for row in rows:
            prefix.add(recorded(row))
        after = rows[-1].seq
    return found(prefix)


async def _workspace(
    deps: Deps, message: f.ForkRunRequest, parent: Run, tree: str
) -> workspace_pb2.Workspace:
    named = message.request_id or deps.ids.new("fork")
    source = workspace_pb2.TreeSource(
        workspace_id=parent.workspace_id, tree=tree, path=message.workspace_path
    )
    # The labels of a workspace are what rules and scopes rest on: those that the fork is given are its run's alone.
    request = executor_pb2.CreateWorkspaceRequest(
        request_id="fork/" + hashlib.sha256(named.encode()).hexdigest(),
        source=workspace_pb2.WorkspaceSource(tree=source),
        labels=await others.workspace_labels(deps.database, parent.workspace_id),
    )
    executor = await deps.executor.at(parent.workspace_id)  # which has the tree
    with rpc_errors("executor"):
        return (await executor.stub.CreateWorkspace(request, timeout=_CHECKOUT_SECONDS)).workspace


def _labels(parent: Run, message: f.ForkRunRequest) -> dict[str, str]:
    labels = {**{key: str(value) for key, value in parent.labels.items()}, **message.labels}
    if len(labels) > _MOST_LABELS:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"With those of {parent.run_id} there are {len(labels)} labels; at most {_MOST_LABELS} are possible.",
            field="labels",
        )
    return labels


async def _answer(deps: Deps, run_id: str) -> f.ForkRunResponse:
    run = await deps.book.refresh(run_id)
    return f.ForkRunResponse(run=views.run(run, await step_views(deps, run, run.steps)))
