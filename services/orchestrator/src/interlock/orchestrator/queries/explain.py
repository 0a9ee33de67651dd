"""What a run waits for: the facts beside its journal are looked up, and a pure function says it."""

from __future__ import annotations

from interlock.orchestrator.convert import views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.actions import Begin, Due, Judge, actions
from interlock.orchestrator.domain.explain import Driver, Explanation, Facts, Line, explain
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.store import leases
from interlock.orchestrator.store.readers import others
from interlock.v1 import explain_pb2 as pb
from interlock.v1 import run_pb2

_INSIDE = (Due, Begin, Judge)


async def explain_run(deps: Deps, message: pb.ExplainRunRequest) -> pb.ExplainRunResponse:
    """Raises RUN_NOT_FOUND, DATABASE_UNAVAILABLE."""
    run = await deps.book.refresh(message.run_id)
    return _view(run, explain(run, await _facts(deps, run)))


async def _facts(deps: Deps, run: Run) -> Facts:
    """Only what the run has to do with now is asked."""
    line = await others.line(deps.database, run.run_id) if run.waiting else None
    driver = await leases.driver(deps.database, run.run_id)
    outside = any(not isinstance(action, _INSIDE) for action in actions(run))
    executor, workspace, planner = (
        await deps.looking.look(run.workspace_id) if outside else (None, None, None)
    )
    return Facts(
        Driver(driver.owner, driver.living, driver.silent_since),
        lease=deps.looking.lease_seconds,
        line=Line(*line) if line is not None else None,
        executor=executor,
        planner=planner,
        workspace=workspace,
        troubles=deps.looking.troubles.of(run.run_id),
    )


def _view(run: Run, said: Explanation) -> pb.ExplainRunResponse:
    return pb.ExplainRunResponse(
        run_id=run.run_id,
        state=run_pb2.RunState.Value(f"RUN_STATE_{run.state.name}"),
        cause=pb.WaitCause.Value(f"WAIT_CAUSE_{said.cause.name}"),
        summary=said.summary,
        since=views.timestamp(said.since),
        details=said.details,
        options=[pb.WaitOption(command=each.command, effect=each.effect) for each in said.options],
    )
