"""RollbackRun: publishes an older tree as a new event."""

from __future__ import annotations

from interlock.common.identity import current_identity
from interlock.orchestrator.commands.mutate import change
from interlock.orchestrator.commands.undoing import difference, ended
from interlock.orchestrator.convert import undoing, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain import undo
from interlock.orchestrator.domain.actions import Restore
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.events import Event, RollbackRequested, RolledBack
from interlock.orchestrator.domain.going_back import changes_back
from interlock.orchestrator.domain.model import Run
from interlock.v1 import orchestrator_pb2 as o


async def rollback_run(deps: Deps, message: o.RollbackRunRequest) -> o.RollbackRunResponse:
    """Returns when the older tree is the head. A repeated request gets the outcome of the same rollback."""
    if message.validate_only:
        return await _look(deps, message)
    outcome = await change(
        deps,
        message,
        message.run_id,
        lambda run, ctx: _decide(run, ctx, message),
        lambda run: o.RollbackRunResponse(run=views.run(run)),
    )
    event = await ended(deps, outcome, o.RollbackRunResponse, RolledBack)
    run = await deps.book.refresh(message.run_id)
    answer = o.RollbackRunResponse(
        run=views.run(run),
        previous_tree=event.previous_tree,
        head_tree=event.head_tree,
        merged=event.merged,
        kept_paths=event.kept_paths,
        kept_total=event.kept_total,
    )
    await difference(deps, run, answer, whole=False)
    return answer


def _decide(run: Run, ctx: Context, message: o.RollbackRunRequest) -> list[Event]:
    return undo.roll_back(
        run,
        ctx,
        to_step=message.to_step,
        comment=message.comment,
        discard_later_changes=message.discard_later_changes,
    )


async def _look(deps: Deps, message: o.RollbackRunRequest) -> o.RollbackRunResponse:
    """What it would do: the same refusals, and nothing is recorded."""
    run = await deps.book.refresh(message.run_id)
    (asked,) = _decide(run, deps.transactions.context(current_identity().subject), message)
    assert isinstance(asked, RollbackRequested)
    _, moment = undo.moment_after(run, message.to_step)
    changes = changes_back(run.steps, moment) if asked.from_tree else ()
    action = Restore(asked.operation_id, asked.tree, asked.from_tree, changes)
    request = undoing.going_back(run, action, validate_only=True)
    request.run_id = ""  # nobody's turn is taken by looking
    found = await deps.executor.revert(request)
    answer = o.RollbackRunResponse(
        run=views.run(run),
        previous_tree=found.previous_tree,
        head_tree=found.head_tree if asked.from_tree else asked.tree,
        merged=bool(asked.from_tree) and found.merged,
    )
    await difference(deps, run, answer, whole=True)
    return answer
