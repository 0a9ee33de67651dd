"""CreateRun."""

from __future__ import annotations

import secrets
from functools import partial

from interlock.common import telemetry
from interlock.common.errors import InterlockError
from interlock.common.identity import current_identity
from interlock.orchestrator.commands.mutate import request_of
from interlock.orchestrator.commands.start_run import could_wait, waits
from interlock.orchestrator.convert import inputs, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.events import RunWaiting
from interlock.orchestrator.store.records import NewWorkspace, WorkspaceChange
from interlock.v1 import orchestrator_pb2 as o
from interlock.v1 import workspace_pb2


async def create_run(deps: Deps, message: o.CreateRunRequest) -> o.CreateRunResponse:
    """Creates a run on a workspace that its executor knows."""
    caller = current_identity()
    workspace = await deps.executor.workspace(message.workspace_id)
    specs, payloads = inputs.specs(message.steps)
    policy = inputs.policy(message.policy)
    deps.policies.check(policy)
    events = decide_run.create(
        deps.transactions.context(caller.subject, caller.owner),
        goal=message.goal,
        workspace_id=message.workspace_id,
        specs=specs,
        policy=policy,
        budget=inputs.budget(message.budget),
        labels=dict(message.labels),
        traceparent=telemetry.inject() or new_trace(),
        start=message.start,
        left_out=tuple(each.path for each in workspace.left_out),
        left_out_total=workspace.left_out_total,
        workspace_labels=dict(workspace.labels),
        replay_from=await replayed(deps, message.replay_from),
        steps_at_a_time=message.steps_at_a_time,
        most_steps=message.max_steps,
    )
    new = await new_workspace(deps, workspace)
    create = partial(
        deps.transactions.create,
        deps.ids.new("run"),
        workspace=WorkspaceChange(message.workspace_id, create=new),
        payloads=payloads,
        request=request_of(message, lambda run: o.CreateRunResponse(run=views.run(run))),
        goal=message.goal,
        labels=dict(message.labels),
    )
    try:
        outcome = await create(events)
    except InterlockError as error:
        if not waits(message.on_busy, error):
            raise could_wait(error) from None
        holder = error.metadata.get("holder_run_id", "")
        # In place of its start, which is the last event.
        outcome = await create([*events[:-1], RunWaiting(current_identity().subject, holder)])
    if outcome.replayed is not None:
        return o.CreateRunResponse.FromString(outcome.replayed)
    deps.labels.learn(message.workspace_id, workspace.labels)
    return o.CreateRunResponse(run=views.run(outcome.run))


async def replayed(deps: Deps, run_id: str) -> str:
    """The run whose recorded replies are to be used, if there is to be one. Raises RUN_NOT_FOUND."""
    return (await deps.book.refresh(run_id)).run_id if run_id else ""


async def new_workspace(deps: Deps, workspace: workspace_pb2.Workspace) -> NewWorkspace:
    """How a workspace is registered with its first run. Its labels never change."""
    doc = {"labels": dict(workspace.labels)}
    address = await deps.executor.address(workspace.workspace_id)
    return NewWorkspace(address, workspace.path, workspace.head_tree, doc)


def new_trace() -> str:
    """A W3C traceparent of a trace nobody records, so that every run has a trace id."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
