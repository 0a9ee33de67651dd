"""Runs of the facade: made, read, extended, carried out step by step."""

from __future__ import annotations

from interlock.common.access import convert as callers
from interlock.common.access.held import has_role
from interlock.common.errors import InterlockError, Reason
from interlock.gateway.rest import convert
from interlock.gateway.rest.seen import Seen
from interlock.gateway.rest.services import Services, is_late
from interlock.v1 import (
    access_pb2,
    approval_pb2,
    decision_pb2,
    executor_pb2,
    run_pb2,
    step_pb2,
    workspace_pb2,
)
from interlock.v1 import agent_run_pb2 as pb
from interlock.v1 import orchestrator_pb2 as o

_RESTS = frozenset(
    {
        run_pb2.RUN_STATE_PAUSED,
        run_pb2.RUN_STATE_AWAITING_APPROVAL,
        run_pb2.RUN_STATE_COMPLETED,
        run_pb2.RUN_STATE_FAILED,
        run_pb2.RUN_STATE_CANCELLED,
    }
)
_ENDED = frozenset(
    {
        *(step_pb2.STEP_STATE_SUCCEEDED, step_pb2.STEP_STATE_FAILED, step_pb2.STEP_STATE_REJECTED),
        *(step_pb2.STEP_STATE_SKIPPED, step_pb2.STEP_STATE_CANCELLED, step_pb2.STEP_STATE_OUTCOME_UNKNOWN),
    }
)
_ONLY_SHOWN = frozenset(
    {run_pb2.RUN_STATE_RUNNING, run_pb2.RUN_STATE_AWAITING_APPROVAL, run_pb2.RUN_STATE_COMPLETED}
)
_KEPT_SECONDS = 0.5
"""How much of a request's time is kept for saying where things stand when the rest of it was not enough."""


async def admit(services: Services) -> None:
    """Raises UNAUTHENTICATED for a credential that the orchestrator does not take."""
    await services.call(services.orchestrator.ListRuns, o.ListRunsRequest(page_size=1))


async def create(services: Services, request: pb.CreateAgentRunRequest) -> pb.AgentRun:
    """A run on a directory."""
    workspace = await _workspace(services, request.workspace_path)
    asked = o.CreateRunRequest(goal=request.goal, workspace_id=workspace.workspace_id, labels=request.labels)
    made = await services.call(services.orchestrator.CreateRun, asked)
    return convert.agent_run(made.run, workspace.path, {})


async def read(services: Services, seen: Seen, run_id: str) -> pb.AgentRun:
    """A run with its steps; what waits is shown, and noted as shown."""
    run = await get(services, run_id)
    asked = executor_pb2.GetWorkspaceRequest(workspace_id=run.workspace_id)
    workspace = (await services.call(services.executor.GetWorkspace, asked)).workspace
    pending = {}
    for step in run.steps:
        if step.state == step_pb2.STEP_STATE_AWAITING_APPROVAL:
            pending[step.number] = await shown(services, seen, step)
    return convert.agent_run(run, workspace.path, pending)


async def add_step(services: Services, request: pb.AddAgentStepRequest) -> pb.AgentStep:
    """A step at the end."""
    spec = convert.step_spec(request.step_type, request.input)
    asked = o.AddStepsRequest(run_id=request.run_id, steps=[spec])
    added = await services.call(services.orchestrator.AddSteps, asked)
    step = await step_message(services, request.run_id, added.first_step)
    return convert.agent_step(step, policy=added.run.policy)


async def execute(services: Services, seen: Seen, run_id: str) -> pb.ExecuteAgentStepResponse:
    """The next step, unless one waits or is under way: then that one."""
    run = await get(services, run_id)
    if run.state in _ONLY_SHOWN and not await _may_execute(services):
        return await _next(services, seen, run_id)  # which is refused, and recorded, where it always is
    if run.state == run_pb2.RUN_STATE_RUNNING:
        run = await until_rest(services, run_id)
        return await _progress(services, seen, run, _latest(run))
    if run.state in (run_pb2.RUN_STATE_AWAITING_APPROVAL, run_pb2.RUN_STATE_COMPLETED):
        return await _progress(services, seen, run, _waiting(run))
    return await _next(services, seen, run_id)


async def _may_execute(services: Services) -> bool:
    """Whether the caller might execute the next step, where none is executed and so nobody else asks."""
    caller = (await services.call(services.access.WhoAmI, access_pb2.WhoAmIRequest())).caller
    return has_role(callers.identity(caller), "operator")


async def _next(services: Services, seen: Seen, run_id: str) -> pb.ExecuteAgentStepResponse:
    asked = o.ExecuteNextStepRequest(run_id=run_id)
    try:
        done = await services.call(
            services.orchestrator.ExecuteNextStep, asked, max(0.01, services.seconds - _KEPT_SECONDS)
        )
    except InterlockError as error:
        if not is_late(error):
            raise
        run = await get(services, run_id)
        return await _progress(services, seen, run, _latest(run))
    run = await get(services, run_id)
    return await _progress(services, seen, run, done.step.number)


async def until_rest(services: Services, run_id: str) -> run_pb2.Run:
    """The run once no step of it is under way, or at the request's deadline."""
    watching = o.WatchRunRequest(run_id=run_id, without_output=True, only_new=True)
    try:
        async with services.stream(services.orchestrator.WatchRun, watching) as changes:
            run = await get(services, run_id)
            if run.state in _RESTS:
                return run
            async for change in changes:
                if change.HasField("run") and change.run.state in _RESTS:
                    break
    except InterlockError as error:
        if not is_late(error):
            raise
    return await get(services, run_id)


async def get(services: Services, run_id: str) -> run_pb2.Run:
    """A run with its steps."""
    asked = o.GetRunRequest(run_id=run_id)
    seconds = max(services.seconds, _KEPT_SECONDS)
    found: run_pb2.Run = (await services.call(services.orchestrator.GetRun, asked, seconds)).run
    return found


async def step_of(services: Services, run_id: str, number: int) -> pb.AgentStep:
    """A step as it is now."""
    return convert.agent_step(await step_message(services, run_id, number))


async def step_message(services: Services, run_id: str, number: int) -> step_pb2.Step:
    """The same, as the orchestrator has it."""
    asked = o.GetStepRequest(run_id=run_id, step=number)
    seconds = max(services.seconds, _KEPT_SECONDS)
    found: step_pb2.Step = (await services.call(services.orchestrator.GetStep, asked, seconds)).step
    return found


async def shown(services: Services, seen: Seen, step: step_pb2.Step) -> decision_pb2.ApprovalRecord:
    """What a step waits for, with its preview; noted as shown to this caller."""
    asked = approval_pb2.GetApprovalRequest(approval_id=step.approval_id)
    seconds = max(services.seconds, _KEPT_SECONDS)
    answer = await services.call(services.approval.GetApproval, asked, seconds)
    record: decision_pb2.ApprovalRecord = answer.approval
    seen.note(services.credential, step.run_id, step.number, record.digest)
    return record


async def _progress(
    services: Services, seen: Seen, run: run_pb2.Run, number: int
) -> pb.ExecuteAgentStepResponse:
    made = pb.ExecuteAgentStepResponse(
        status=convert.state_word(run_pb2.RunState, run.state),
        all_complete=bool(run.steps) and all(step.state in _ENDED for step in run.steps),
    )
    if number:
        step = await step_message(services, run.run_id, number)
        made.awaiting_approval = step.state == step_pb2.STEP_STATE_AWAITING_APPROVAL
        pending = await shown(services, seen, step) if made.awaiting_approval else None
        made.step.CopyFrom(convert.agent_step(step, pending))
    return made


def _waiting(run: run_pb2.Run) -> int:
    return next((s.number for s in run.steps if s.state == step_pb2.STEP_STATE_AWAITING_APPROVAL), 0)


def _latest(run: run_pb2.Run) -> int:
    """The last step that anything has happened to."""
    touched = [step.number for step in run.steps if step.state != step_pb2.STEP_STATE_PENDING]
    return max(touched, default=0)


async def _workspace(services: Services, path: str) -> workspace_pb2.Workspace:
    source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=path))
    asked = executor_pb2.CreateWorkspaceRequest(source=source)
    workspace: workspace_pb2.Workspace
    try:
        workspace = (await services.call(services.executor.CreateWorkspace, asked)).workspace
        return workspace
    except InterlockError as error:
        known = error.metadata.get("workspace")
        if error.reason is not Reason.WORKSPACE_EXISTS or not known:
            raise
        found = executor_pb2.GetWorkspaceRequest(workspace_id=known)
        workspace = (await services.call(services.executor.GetWorkspace, found)).workspace
        if workspace.path != path.rstrip("/"):
            raise
        return workspace
