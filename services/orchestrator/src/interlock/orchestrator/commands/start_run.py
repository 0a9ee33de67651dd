"""StartRun: now, or when the workspace is free."""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.commands.mutate import mutate
from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import decide_run
from interlock.orchestrator.domain.model import Run
from interlock.v1 import orchestrator_pb2 as o


async def start_run(deps: Deps, message: o.StartRunRequest) -> o.StartRunResponse:
    """Starts the run, or has it wait in line where that is asked for. Raises WORKSPACE_BUSY."""
    try:
        return await mutate(deps, message, decide_run.start, _respond)
    except InterlockError as error:
        if not waits(message.on_busy, error):
            raise could_wait(error) from None
        holder = error.metadata.get("holder_run_id", "")
    return await mutate(deps, message, lambda run, ctx: decide_run.wait_to_start(run, ctx, holder), _respond)


def waits(on_busy: o.OnBusy.ValueType, error: InterlockError) -> bool:
    """Whether a start that was refused is to wait instead."""
    return error.reason is Reason.WORKSPACE_BUSY and on_busy == o.ON_BUSY_WAIT


def could_wait(error: InterlockError) -> InterlockError:
    """The refusal of a start; of a busy workspace with the advice that only a start can follow: to wait in line."""
    if error.reason is not Reason.WORKSPACE_BUSY:
        return error
    fix = f"{error.fix.removesuffix('.')}; or wait in line (`on_busy`: WAIT; `--wait-for-workspace`)."
    return InterlockError(error.reason, error.message, field=error.field, fix=fix, metadata=error.metadata)


def _respond(run: Run) -> o.StartRunResponse:
    return o.StartRunResponse(run=views.run(run))
